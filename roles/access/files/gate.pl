#!/usr/bin/perl
# All that the arbiter's key may start in a guest: the sampler that is installed here, which is the one that it sends.
# sshd runs this, whatever was asked for (roles/access).
use strict;
use warnings;

my ($here) = $0 =~ m{\A(.*)/};
my @periods = ($ENV{SSH_ORIGINAL_COMMAND} // '') =~ m{\Aexec perl - ([0-9.]{1,9}) ([0-9.]{1,9})\z};
open(my $file, '<', "$here/sampler.pl") or die "$here/sampler.pl: $!\n";
my $own = do { local $/; <$file> } . "__END__\n";
my $sent = '';
if (@periods) {
    1 while length $sent < length $own && sysread(STDIN, $sent, length($own) - length $sent, length $sent);
}
$sent eq $own
  or die "this key may start nothing but the arbiter's sampler, as it is installed here. If the arbiter is another "
  . "version by now, run playbooks/access.yml of that one\n";
exec '/usr/bin/perl', "$here/sampler.pl", @periods;
