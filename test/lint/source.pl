#!/usr/bin/perl
# House rules that need a look into the C code.
#
#   source.pl RULE FILE...
#
# Prints "file:line: what is wrong" for each offence; no output means none.
use strict;
use warnings;

my %rules = (
	columns => \&columns,
	errcodes => \&errcodes,
	function_comments => \&function_comments,
	gucs => \&gucs,
	header_comment => \&header_comment,
	includes => \&includes,
	layers => \&layers,
	line_comments => \&line_comments,
	sizes => \&sizes,
	version_num => \&version_num);

my ($rule, @files) = @ARGV;
my $check = $rules{ $rule // '' }
  or die "usage: source.pl " . join('|', sort keys %rules) . " FILE...\n";
my %own = map { base($_) => 1 } grep { /\.h$/ } @files;
for my $file (@files)
{
	open(my $in, '<', $file) or die "$file: $!\n";
	my @lines = <$in>;
	chomp @lines;
	$check->($file, @lines);
}

sub say_at
{
	my ($file, $line, $what) = @_;
	print "$file:$line: $what\n";
	return;
}

sub base
{
	my ($path) = @_;
	return $path =~ s{.*/}{}r;
}

# The text with comments, strings and character constants blanked out, all
# else, also line breaks, in its place. With $keep, strings stay.
sub code_only
{
	my ($text, $keep) = @_;
	my $blank = sub { return $_[0] =~ s/[^\n]/ /gr };
	$text =~ s{(/\*.*?\*/)|("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}
			  {defined $1 ? $blank->($1) : $keep ? $2 : $blank->($2)}gse;
	return $text;
}

# Functions defined in a file: name, line of the name, of { and of }.
sub functions
{
	my @code = split(/\n/, code_only(join("\n", @_)), -1);
	my @found;
	for my $open (grep { $code[$_] eq '{' } 1 .. $#code)
	{
		my $name = $open - 1;
		$name-- while $name > 0 && $code[$name] =~ /^\s/;
		next unless $code[$name] =~ /^(\w+)\(/;
		my $function = $1;
		my $close = $open;
		$close++ while $close < $#code && $code[$close] !~ /^\}/;
		push @found,
		  {
			name => $function,
			line => $name,
			open => $open,
			close => $close
		  };
	}
	return @found;
}

# 79 columns with tabs of 4, as pgindent counts. A message that users may
# search for is not broken up, as in PostgreSQL.
sub columns
{
	my ($file, @lines) = @_;
	for my $i (0 .. $#lines)
	{
		my $line = $lines[$i];
		1 while $line =~ s/^([^\t]*)\t/$1 . ' ' x (4 - length($1) % 4)/e;
		next if length($line) <= 79;
		next if $line =~ /\b(?:errmsg|errdetail|errhint|elog|gettext_noop)\w*\(/;
		next if $line =~ /^\s*"[^"]*"[,)]*;?$/;
		say_at($file, $i + 1, length($line) . ' columns');
	}
	return;
}

# Every error has an SQLSTATE; elog is for what cannot happen.
sub errcodes
{
	my ($file, @lines) = @_;
	my $code = code_only(join("\n", @lines));
	while ($code =~ /\bereport\s*(\((?:[^()]++|(?1))*\))/g)
	{
		my ($call, $at) = ($1, $-[0]);
		next if $call =~ /^\(\s*(?:WARNING|NOTICE|INFO|LOG|LOG_SERVER_ONLY|COMMERROR|DEBUG\d)\b/;
		next if $call =~ /errcode/;
		say_at($file, 1 + (substr($code, 0, $at) =~ tr/\n//),
			'ereport without errcode');
	}
	return;
}

# A comment above each function, unless a glance shows what it does.
sub function_comments
{
	my ($file, @lines) = @_;
	for my $function (functions(@lines))
	{
		next if $function->{close} - $function->{open} <= 4;
		my $above = $function->{line} - 1;
		$above-- while $above >= 0 && $lines[$above] =~ /^\w/;
		$above-- while $above >= 0 && $lines[$above] =~ /^$/;
		next if $above >= 0 && $lines[$above] =~ m{\*/\s*$};
		say_at($file, $function->{line} + 1,
			"no comment above $function->{name}");
	}
	return;
}

# Settings are defined in the order of their names.
sub gucs
{
	my ($file, @lines) = @_;
	my $code = code_only(join("\n", @lines), 1);
	my $last = '';
	while ($code =~ /\bDefineCustom\w+Variable\(\s*"([^"]+)"/g)
	{
		my ($name, $at) = ($1, $-[0]);
		say_at($file, 1 + (substr($code, 0, $at) =~ tr/\n//),
			"$name after $last")
		  if $name lt $last;
		$last = $name;
	}
	return;
}

# A file opens with what it owns.
sub header_comment
{
	my ($file, @lines) = @_;
	my ($comment) = join("\n", @lines) =~ m{\A/\*(.*?)\*/}s;
	my $words = () = ($comment // '') =~ /\w+/g;
	say_at($file, 1, 'no comment that says what the file owns')
	  if $words < 5;
	return;
}

# postgres.h first in .c and never in .h, then <system>, then PostgreSQL's
# headers by name, then ours by name. What stands in #if is left alone.
sub includes
{
	my ($file, @lines) = @_;
	my ($depth, $last) = (0, '');
	my $guard = $file =~ /\.h$/ ? 1 : 0;
	my $first = 1;
	for my $i (0 .. $#lines)
	{
		$depth++ if $lines[$i] =~ /^#\s*if/;
		$depth-- if $lines[$i] =~ /^#\s*endif/;
		next if $depth > $guard;
		next unless $lines[$i] =~ /^#\s*include\s+([<"])([^>"]+)[>"]/;
		my ($mark, $name) = ($1, $2);
		if ($name eq 'postgres.h')
		{
			say_at($file, $i + 1, 'postgres.h in a header') if $guard;
			say_at($file, $i + 1, 'postgres.h is not first') unless $first;
		}
		else
		{
			say_at($file, $i + 1, 'postgres.h should come first')
			  if $first && !$guard;
			my $block = $mark eq '<' ? 1 : $own{$name} ? 3 : 2;
			my $key = $block == 1 ? 1 : "$block $name";
			say_at($file, $i + 1, "$name is out of order") if $key lt $last;
			$last = $key;
		}
		$first = 0;
	}
	return;
}

# No header of a higher layer; every file is in a layer.
sub layers
{
	my ($file, @lines) = @_;
	my $mine = layer_of($file);
	return say_at($file, 1, 'in no layer of test/lint/layers')
	  unless defined $mine;
	for my $i (0 .. $#lines)
	{
		next unless $lines[$i] =~ /^#\s*include\s+"([^"]+)"/ && $own{$1};
		my $other = layer_of($1);
		say_at($file, $i + 1, "$1 belongs to a higher layer")
		  if defined $other && $other > $mine;
	}
	return;
}

{
	my @layers;

	sub layer_of
	{
		my ($file) = @_;
		my $name = base($file) =~ s/\.[ch]$//r;
		@layers = read_layers() unless @layers;
		for my $n (0 .. $#layers)
		{
			return $n if $name =~ $layers[$n];
		}
		return;
	}

	sub read_layers
	{
		my $path = $0 =~ s{[^/]*$}{layers}r;
		open(my $in, '<', $path) or die "$path: $!\n";
		my @found;
		while (my $line = <$in>)
		{
			next if $line =~ /^#|^\s*$/;
			my $names = join '|',
			  map { quotemeta =~ s/\\\*/.*/gr } split ' ', $line;
			push @found, qr/^(?:$names)$/;
		}
		return @found;
	}
}

sub line_comments
{
	my ($file, @lines) = @_;
	my @code = split(/\n/, code_only(join("\n", @lines)), -1);
	for my $i (grep { $code[$_] =~ m{//} } 0 .. $#code)
	{
		say_at($file, $i + 1, '// comment');
	}
	return;
}

sub sizes
{
	my ($file, @lines) = @_;
	say_at($file, 1, scalar(@lines) . ' lines, at most 900')
	  if @lines > 900;
	for my $function (functions(@lines))
	{
		my $length = $function->{close} - $function->{open} - 1;
		say_at($file, $function->{line} + 1,
			"$function->{name} has $length lines, at most 120")
		  if $length > 120;
	}
	return;
}

# Differences between versions of PostgreSQL live in one header.
sub version_num
{
	my ($file, @lines) = @_;
	return if base($file) eq 'compat.h';
	for my $i (grep { $lines[$_] =~ /PG_VERSION_NUM/ } 0 .. $#lines)
	{
		say_at($file, $i + 1, 'PG_VERSION_NUM outside src/compat.h');
	}
	return;
}
