#!/usr/bin/perl
# report.pl WORKDIR TARGETS JSON
#   Prints the table of medians and ratios, writes the raw figures as JSON.
#
# Needs nothing that Debian's perl-base does not have.  Exit status: 0, or 1
# when a target is missed.
use strict;
use warnings;

my ($workdir, $targets_file, $json_file) = @ARGV;

sub rows {
    my ($file) = @_;
    open(my $fh, '<', $file) or die "$file: $!\n";
    my @rows = map { chomp; [ split /\t/ ] } grep { !/^#/ && /\S/ } <$fh>;
    return @rows;
}

sub median {
    my @v = sort { $a <=> $b } @_;
    return @v % 2 ? $v[$#v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
}

# 1234567.8 -> 1,234,568; small figures keep three digits that count.
sub number {
    my ($v) = @_;
    my $s =
        abs($v) >= 100 ? sprintf('%.0f', $v)
      : abs($v) >= 10  ? sprintf('%.1f', $v)
      : abs($v) >= 1   ? sprintf('%.2f', $v)
      :                  sprintf('%.3f', $v);
    1 while $s =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $s;
}

my %machine = map { $_->[0] => $_->[1] // '' } rows("$workdir/machine.tsv");

# Contestants that are no queues
my %limit = map { $_ => 1 } split / /, $machine{limits} // '';

# ------------------------------------------------------------- collect

my (@cases, %case, @contestants, %known);
for my $r (rows("$workdir/raw.tsv")) {
    my ($key, $title, $metric, $unit, $better, $who, $round, $value) = @$r;
    my $id = "$key\t$metric";
    if (!$case{$id}) {
        $case{$id} = {
            key => $key, title => $title, metric => $metric, unit => $unit,
            better => $better, values => {},
        };
        push @cases, $case{$id};
    }
    push @{ $case{$id}{values}{$who} }, $value;
    push @contestants, $who if !$known{$who}++;
}
@contestants = ((grep { $_ ne 'queue' } @contestants), grep { $_ eq 'queue' } @contestants);

for my $c (@cases) {
    $c->{median}{$_} = median(@{ $c->{values}{$_} }) for keys %{ $c->{values} };
}

# How many times better one figure is than another: above 1 is always good.
sub ratio_of {
    my ($c, $this, $other) = @_;
    return undef if grep { !defined } $this, $other;
    return 1 if $this == $other;
    return undef if $this <= 0 || $other <= 0;
    return $c->{better} eq 'higher' ? $this / $other : $other / $this;
}

sub ratio {
    my ($c, $other) = @_;
    return ratio_of($c, $c->{median}{queue}, $c->{median}{$other});
}

# --------------------------------------------------------------- targets

# What a target speaks of: the ratio to a contestant, to the best of the
# others, to another case (@key), or (against "value") the figure itself.
sub target_value {
    my ($c, $against) = @_;
    return $c->{median}{queue} if $against eq 'value';
    if ($against =~ /^@(.*)/) {
        my $other = $case{"$1\t$c->{metric}"} or return undef;
        return ratio_of($c, $c->{median}{queue}, $other->{median}{queue});
    }
    return ratio($c, $against) if $against ne 'best';
    my @r = sort { $a <=> $b } grep { defined } map { ratio($c, $_) }
      grep { $_ ne 'queue' && !$limit{$_} } keys %{ $c->{median} };
    return $r[0];
}

my (%target, $missed, @unmeasured);
for my $t (rows($targets_file)) {
    my ($key, $metric, $against, $op, $threshold, $source) = @$t;
    my $c = $case{"$key\t$metric"};
    my $value = $c ? target_value($c, $against) : undef;
    if (!defined $value) {
        push @unmeasured, "$key" . ($metric ne 'main' ? ", $metric" : '')
          . ", of $against, $op $threshold ($source)";
        next;
    }
    my $met = $op eq '>=' ? $value >= $threshold : $value <= $threshold;
    $missed = 1 if !$met;
    push @{ $target{"$key\t$metric"} }, {
        against => $against, op => $op, threshold => $threshold,
        source => $source, value => sprintf('%.4g', $value),
        met => $met ? 'yes' : 'no',
    };
}

# ----------------------------------------------------------------- print

my $width = 20;
for my $c (@cases) {
    my $l = length($c->{title});
    $width = $l if $l > $width;
}
my $with_queue = $known{queue};

sub row {
    my ($title, $unit, @cells) = @_;
    my $line = sprintf("%-*s %-7s", $width, $title, $unit);
    $line .= sprintf(' %10s', $_) for @cells;
    $line =~ s/ +$//;
    return "$line\n";
}

my $head = row('median of all rounds', 'unit', @contestants,
    $with_queue ? 'ratio' : ());
print "\n$head", '-' x (length($head) - 1), "\n";
for my $c (@cases) {
    next if $c->{metric} =~ /^(latency|others)$/;
    my $title = $c->{metric} eq 'main' ? $c->{title} : "  $c->{metric}";
    my $ratio = target_value($c, 'best');
    print row($title, $c->{unit},
        (map { defined $c->{median}{$_} ? number($c->{median}{$_}) : '-' } @contestants),
        $with_queue ? (defined $ratio ? sprintf('%.2f', $ratio) : '-') : ());
}
print "ratio: how many times better queue is than the best of the others; above 1 is\n",
  "better, also where a smaller figure is.\n" if $with_queue;

if (%target) {
    printf "\n%-*s %-22s %9s %9s\n", $width, 'target', 'of', 'wanted', 'found';
    for my $c (@cases) {
        for my $t (@{ $target{"$c->{key}\t$c->{metric}"} || [] }) {
            my $title = $c->{title};
            $title .= ", $c->{metric}" if $c->{metric} ne 'main';
            my $of = $t->{against};
            $of = $of eq 'value' ? $c->{unit} : 'ratio to ' . ($of =~ s/^@//r);
            printf "%-*s %-22s %9s %9s  %s (%s)\n", $width, $title, $of,
              "$t->{op} $t->{threshold}", number($t->{value}),
              $t->{met} eq 'yes' ? 'met' : 'MISSED', $t->{source};
        }
    }
}
print "\nTargets not measured:\n", map { "  $_\n" } @unmeasured if @unmeasured;
my @warnings = do {
    open(my $fh, '<', "$workdir/warnings") or die;
    map { chomp; $_ } <$fh>;
};
print "Warning: $_\n" for @warnings;

# ------------------------------------------------------------------ JSON

sub json {
    my ($v, $indent) = @_;
    $indent //= '';
    my $in = "$indent  ";
    if (ref $v eq 'HASH') {
        return "{\n" . join(",\n",
            map { "$in" . json_string($_) . ': ' . json($v->{$_}, $in) } sort keys %$v)
          . "\n$indent}";
    }
    if (ref $v eq 'ARRAY') {
        return '[' . join(', ', map { json($_, $in) } @$v) . ']';
    }
    return 'null' if !defined $v;
    return $v if $v =~ /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/;
    return json_string($v);
}

sub json_string {
    my ($s) = @_;
    $s =~ s/(["\\])/\\$1/g;
    $s =~ s/([\x00-\x1f])/sprintf('\\u%04x', ord $1)/ge;
    return "\"$s\"";
}

my %settings = map { s/^setting\.//r => $machine{$_} } grep { /^setting\./ } keys %machine;
delete $machine{$_} for grep { /^setting\./ } keys %machine;
my @out = map {
    my $c = $_;
    my %ratios = map { my $r = ratio($c, $_); defined $r ? ($_ => sprintf('%.4g', $r)) : () }
      grep { $_ ne 'queue' } keys %{ $c->{median} };
    my $t = $target{"$c->{key}\t$c->{metric}"} || [];
    {
        key => $c->{key}, title => $c->{title}, metric => $c->{metric},
        unit => $c->{unit}, better => $c->{better}, values => $c->{values},
        median => $c->{median}, ratio_of_queue_to => \%ratios, targets => $t,
    }
} @cases;
my @series = map {
    my ($key, $metric, $who, $second, $value) = @$_;
    { key => $key, metric => $metric, contestant => $who, second => $second,
        value => $value }
} rows("$workdir/series.tsv");
open(my $fh, '>', $json_file) or die "$json_file: $!\n";
print $fh json({ machine => \%machine, settings => \%settings,
        warnings => \@warnings, cases => \@out, series => \@series,
        targets_not_measured => \@unmeasured }), "\n";
close($fh) or die "$json_file: $!\n";

exit($missed ? 1 : 0);
