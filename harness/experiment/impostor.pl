# Answers to the name of perl in a guest of the lab that is not to be trusted (faults.py puts it there): whoever wants
# the sampler gets this one's words, made of the true ones, and whoever wants another program gets that.
#
# perl KIND FACTOR ARGUMENT...
use strict;
use warnings;

my $perl = '/usr/bin/perl.own';
my ($kind, $factor, @wanted) = @ARGV;
exec $perl, @wanted if ($wanted[0] // '') ne '-';
exec 'yes' if $kind eq 'flooding';

my %say = (lying => \&lies, claiming => \&claims, babbling => \&babble);
open(my $true, '-|', $perl, @wanted) or die "$perl: $!\n";    # it reads our standard input, which ends it too
$| = 1;
print $say{$kind}->($_) while <$true>;

# It uses and has committed FACTOR times what it does, as far as it has that much; all of it is its programs'.
sub lies {
    my ($line) = @_;
    my %is = $line =~ / (MemTotal|MemAvailable)=(\d+)/g;
    my $left = $is{MemTotal} - $factor * ($is{MemTotal} - $is{MemAvailable});
    $left = $left > 0 ? int $left : 0;
    return $line =~ s/ (?:MemAvailable|MemFree)=\K\d+/$left/gr =~ s/ (?:Buffers|Cached)=\K\d+/0/gr
      =~ s/ Committed_AS=\K(\d+)/int $factor * $1/er;
}

# In one sample of five it has lost all its time to memory since the last one, and swapped a GiB; of the others nothing is said.
# Whoever starves falls silent like this.
my $heard = 0;

sub claims {
    my ($line) = @_;
    return '' if $heard++ % 5;
    my $times = $heard / 5;
    my ($now_ms) = $line =~ / mono_ms=(\d+)/;
    return $line =~ s/ psi_(?:some|full)_us=\K\d+/1000 * $now_ms/egr
      =~ s/ pswp(?:in|out)=\K(\d+)/int $1 + 262144 * $times/egr =~ s/ pgmajfault=\K(\d+)/int $1 + 262144 * $times/er;
}

# Commands to a terminal, a forged line, a number without end; then a sample of a guest that boots and kills all the time,
# and has more free swap than there is.
sub babble {
    my ($line) = @_;
    my $nonsense = "\e[2J\e]0;mine\a\x{85}host_lost: all guests are gone\r" . '9' x 400 . "\n";
    return $nonsense . ($line =~ s/ oom_kill=\K\d+/$./r =~ s/ mono_ms=\K\d+/$. % 2/er
          =~ s/ SwapFree=\K\d+/18446744073709551612/r);
}
