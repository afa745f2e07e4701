"""The lab: a real Xen host with real guests inside QEMU, on any Linux machine, reached on 127.0.0.1 only."""
