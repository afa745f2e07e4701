# The guest's side of Ballast: one line of memory statistics per period on standard output, until standard input ends.
# On a line that begins with `now` it sends one at once, and from then on at whole periods after.
#
# Started as `perl - PERIOD_S [AGING_S]` with this text and __END__ on standard input: nothing is installed. It uses only
# what perl-base has, forks nothing but who looks at the ages of pages, at the start, and holds its files open, so that it
# still answers when the guest is short of memory.
# A figure that is not there is left out of the line; the reader decides what that means (harness/xen/facts.py).
use strict;
use warnings;
use Config;

# AGING_S other than 0: the kernel's multi-generational LRU is turned on, and every so often it looks which pages were used
# since the last time. The other arguments are for tests.
my $period_ms = 1000 * ($ARGV[0] // 1);
my $aging_ms  = 1000 * ($ARGV[1] // 0);
my $kernel    = $ARGV[2] // '/sys/kernel';
my $sysctl    = $ARGV[3] // '/proc/sys/vm';
$period_ms >= 100 or die "PERIOD_S must be at least 0.1\n";
$SIG{PIPE} = 'IGNORE';    # a closed standard output shows as a failed write

# The two calls that perl-base has no function for, by their numbers; another kind of machine does without.
my %numbers = (
    x86_64  => { mlockall => 151, clock_gettime => 228 },
    aarch64 => { mlockall => 230, clock_gettime => 113 },
);
my ($machine) = $Config{archname} =~ /^(x86_64|aarch64)-linux/;
my $number = $numbers{ $machine // '' } // {};

# File, what to take from it (name, number), and what to call it on the line where that differs.
my $balloon = '/sys/devices/system/xen_memory/xen_memory0';
my @files = (
    [
        '/proc/meminfo',
        qr/^(MemTotal|MemFree|MemAvailable|Buffers|Cached|Shmem|Committed_AS|SwapTotal|SwapFree|SwapCached|
             SReclaimable|Hugetlb|HugePages_Total|Hugepagesize):[ ]+(\d+)/mx,
    ],
    [
        '/proc/vmstat',
        qr/^(pswpin|pswpout|pgmajfault|oom_kill|workingset_refault(?:_anon|_file)?) (\d+)/m,
        {
            workingset_refault_anon => 'refault_anon',
            workingset_refault_file => 'refault_file',
            workingset_refault      => 'refault_file',    # before Linux 5.9, which counted only file pages
        },
    ],
    [
        '/proc/swaps',
        qr/^(\/dev\/zram|\/)\S+\s+\w+\s+\d+\s+(\d+)/m,
        { '/' => 'swaps_used', '/dev/zram' => 'zram_swapped' },
    ],
    [ '/proc/pressure/memory', qr/^(some|full) .*total=(\d+)/m, { some => 'psi_some_us', full => 'psi_full_us' } ],
    [ "$balloon/target_kb",       qr/^()(\d+)/, { '' => 'balloon_target' } ],
    [ "$balloon/info/current_kb", qr/^()(\d+)/, { '' => 'balloon_current' } ],
    [ '/proc/spl/kstat/zfs/arcstats', qr/^(size|c_min)\s+\d+\s+(\d+)/m, { size => 'arc_size', c_min => 'arc_c_min' } ],
    map { [ $_, qr/^()\s*\d+\s+\d+\s+(\d+)/, { '' => 'zram_used' } ] } glob('/sys/block/zram*/mm_stat'),
);
for my $file (@files) {
    open(my $handle, '<', $file->[0]) or next;
    $file->[3] = $handle;
}
@files = grep { $_->[3] } @files;
open(my $uptime, '<', '/proc/uptime') or die "/proc/uptime: $!\n";

# A whole file anew; the kernel gives at most a page of it per read.
sub contents {
    my ($handle) = @_;
    my $text = '';
    sysseek($handle, 0, 0) or return '';
    1 while sysread($handle, $text, 16384, length $text);
    return $text;
}

sub now_ms {
    my $timespec = "\0" x 16;
    if ($number->{clock_gettime} && syscall($number->{clock_gettime}, 1, $timespec) == 0) {    # 1: CLOCK_MONOTONIC
        my ($seconds, $nanoseconds) = unpack('qq', $timespec);
        return $seconds * 1000 + int($nanoseconds / 1_000_000);
    }
    return int(1000 * (split ' ', contents($uptime))[0]);
}

# The number of a disk, by which dom0 knows it too; asked once per name.
my %devices;
sub device {
    my ($name) = @_;
    return $devices{$name} //= (stat $name)[6] // 0;
}

# The generations of pages, by memory cgroup and node: [ MEMCG, NODE, [ NUMBER, AGE_MS, ANONYMOUS, FILE ], ... ] in pages.
# The kernel writes for each a line of these four, the oldest first.
sub groups {
    my ($lru_gen) = @_;
    my ($memcg, @groups);
    for (split /\n/, contents($lru_gen)) {
        if    (/^memcg\s+(\d+)/)                      { $memcg = $1 }
        elsif (/^\s*node\s+(\d+)/)                   { push @groups, [ $memcg, $1 ] }
        elsif (/^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)/) { push @{ $groups[-1] }, [ $1, $2, $3, $4 ] if @groups }
    }
    return grep { @$_ > 2 } @groups;
}

# All groups together, as AGE_MS:ANONYMOUS:FILE,... in pages.
#
# What was used between two agings is in the generation that was the youngest then, and what was used since the last is
# not known yet. So a page of a generation was last used at least as long before the last aging as the next younger one
# was born before it. Of the time before we began nothing is known: nobody looked.
my ($start_ms, $aged_ms) = (0, 0);
sub ages {
    my %sum;
    for (groups(@_)) {
        my (undef, undef, @of) = @$_;
        for my $i (0 .. $#of) {
            my $born = $of[ $i < $#of ? $i + 1 : $i ][1] - $of[-1][1];
            my $known = $aged_ms - $start_ms;
            my $key = 1000 * int(($born < $known ? $born : $known) / 1000 + 0.5);
            $sum{$key}[$_] += $of[$i][ 2 + $_ ] for 0, 1;
        }
    }
    my @ages = sort { $a <=> $b } keys %sum;
    for my $older (splice(@ages, 64)) {    # more than are read: they count as the oldest of those that are
        $sum{ $ages[-1] }[$_] += $sum{$older}[$_] for 0, 1;
    }
    return join(',', map { join(':', $_, @{ $sum{$_} }) } @ages);
}

# Change a setting of the kernel; returns what it was, or nothing where there is none, or we may not.
sub change {
    my ($path, $value) = @_;
    open(my $handle, '+<', $path) or return;
    chomp(my $before = contents($handle));
    sysseek($handle, 0, 0);
    return syswrite($handle, "$value\n") ? $before : undef;
}

# Who looks is a process of its own: it can take the kernel seconds, where Xen has to write for the guest what it changes
# of every page, and the lines need not wait where the guest has another processor. It looks when it gets a byte, and
# says when it had; a first number says that it can. When we end, however that comes, it leaves the kernel's settings as
# they were. One at a time, by a lock: the one of a sampler that was replaced may still look, and sets them back after it.
#
# With the boost of watermarks, which keeps free memory in large pieces, kswapd takes all of the processor for seconds where
# pages are kept in generations: a guest that grows would stand still for being looked at. So it is off meanwhile.
sub looker {
    pipe(my $asked, my $ask) && pipe(my $seen, my $say) or return;
    defined(my $pid = fork) or return;
    return [ $ask, $seen, $pid ] if $pid;
    close($_) for \*STDIN, \*STDOUT, \*STDERR, $ask, $seen;
    open($uptime, '<', '/proc/uptime');    # its place in the file is ours alone
    my ($enabled, $boost) = ("$kernel/mm/lru_gen/enabled", "$sysctl/watermark_boost_factor");
    open(my $lru_gen, '+<', "$kernel/debug/lru_gen") or exit 1;
    until (flock($lru_gen, 2 | 4)) { exit 0 if readable($asked, 0.2) }    # LOCK_EX | LOCK_NB; nobody asks before: our end
    defined(my $enabled_before = change($enabled, 'y')) or exit 1;
    my $boost_before = change($boost, 0);
    syswrite($say, pack('Q', now_ms()));
    while (sysread($asked, my $byte, 1)) {
        # One at a time: the kernel ends at the first that it refuses. 1 1: anonymous pages too, and all page tables.
        syswrite($lru_gen, "+ $_->[0] $_->[1] $_->[-1][0] 1 1\n") for groups($lru_gen);
        syswrite($say, pack('Q', now_ms()));
    }
    change($enabled, $enabled_before);
    change($boost, $boost_before) if defined $boost_before;
    exit 0;
}

sub readable {
    my ($handle, $within_s) = @_;
    vec(my $bits = '', fileno($handle), 1) = 1;
    return select($bits, undef, undef, $within_s) > 0;
}

sub sample {
    my (%sum, %wrong);    # one figure per name, but for swap areas and zram, of which there can be several
    for (@files) {
        my ($path, $pattern, $names, $handle) = @$_;
        my $text = contents($handle);
        while ($text =~ /$pattern/g) {
            $sum{ $names->{$1} // $1 } += $2;
            $wrong{ $names->{$1} // $1 } = 1 if $2 > 1e18;    # a negative number, printed as if it had no sign
        }
        $sum{swap_device} = device($1) if $path eq '/proc/swaps' && $text =~ m{^(/dev/(?!zram)\S+)}m;
    }
    delete @sum{ keys %wrong };
    $sum{swaps_used} += $sum{zram_swapped} if exists $sum{zram_swapped};
    my ($pages, $kib) = delete @sum{qw(HugePages_Total Hugepagesize)};
    $sum{Hugetlb} //= $pages * $kib if defined $pages && defined $kib;    # older kernels do not add their sizes up
    return map { "$_=$sum{$_}" } sort keys %sum;
}

# While it is looked at, a guest with one processor may do nothing else: so that is at most this part of its time.
my $looking = 0.05;
my ($looker, $lru_gen, $asked_ms);
my $rest_ms = $aging_ms;

# Whether who looks has said, within so long, that it can; when it is gone without a word, there is none.
sub begun {
    return 1 if $lru_gen;
    return 0 unless readable($looker->[1], $_[0]);
    $start_ms = $aged_ms = now_ms();
    return 1 if sysread($looker->[1], my $can, 8) && open($lru_gen, '<', "$kernel/debug/lru_gen");
    $looker = undef;
    return 0;
}

sub leave {
    my (undef, undef, $pid) = $looker ? splice(@$looker) : ();    # closed, which it takes for our end
    waitpid($pid, 0) if $pid;
    exit 0;
}

# Be the last to be killed, the first to run, and never swapped out; each only if we may. Who looks runs like others.
if (open(my $score, '>', '/proc/self/oom_score_adj')) {
    syswrite($score, "-900\n");
    close($score);
}
$looker = looker() if $aging_ms;
begun($period_ms / 1000) if $looker;
eval { setpriority(0, 0, -10) };
sample();            # first, so that what it takes is in memory and is locked
my $lock = 1 | 2 | 4;    # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT: what is in use, not all that is mapped
syscall($number->{mlockall}, $lock) if $number->{mlockall};

my $seq = 0;
my ($anchor_ms, $anchor_seq) = (now_ms(), 0);    # of the lines' times, which are whole periods apart
my $heard = '';
while (1) {
    my @said = sample();
    if (defined $asked_ms && readable($looker->[1], 0)) {
        if (sysread($looker->[1], my $seen_ms, 8)) {
            my $least_ms = (unpack('Q', $seen_ms) - $asked_ms) / $looking;
            $rest_ms = $least_ms > $aging_ms ? $least_ms : $aging_ms;
            ($aged_ms, $asked_ms) = ($asked_ms);
        }
        else { ($looker, $asked_ms) = () }    # it was killed; what it saw grows old
    }
    if ($looker && begun(0)) {
        if (!defined $asked_ms && now_ms() + $period_ms / 2 >= $aged_ms + $rest_ms) {    # on the nearest line
            $asked_ms = now_ms();
            syswrite($looker->[0], '.');
        }
        my $ages = ages($lru_gen);
        push @said, "ages=$ages" if $ages;
    }
    my $line = join(' ', 'B1', "seq=$seq", 'mono_ms=' . now_ms(), @said) . "\n";
    while (length $line) {
        my $written = syswrite(STDOUT, $line) or leave();
        substr($line, 0, $written) = '';
    }

    # The next whole period from the anchor, so that errors do not add up; periods slept through leave a gap in seq.
    my $periods = 1 + int((now_ms() - $anchor_ms) / $period_ms);
    while ((my $left_ms = $anchor_ms + $periods * $period_ms - now_ms()) > 0) {
        next unless readable(\*STDIN, $left_ms / 1000);
        sysread(STDIN, $heard, 4096, length $heard) or leave();
        ($anchor_ms, $anchor_seq, $periods) = (now_ms(), $seq + 1, 0) if $heard =~ /^now.*\n/m;
        $heard =~ s/.*\n//s;    # what is left is the beginning of a line
        $heard = '' if length $heard > 4096;
    }
    $seq = $anchor_seq + $periods;
}
