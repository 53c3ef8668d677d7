# A clock that is set: leases end early or late by the step, and no message is
# lost, delivered after its ack, or acked by a stale receipt (hazard 32 of the
# table in doc/reliability.md).  Needs libfaketime.
use strict;
use warnings;

use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my ($library) = (glob('/usr/lib/*/faketime/libfaketimeMT.so.1'),
	glob('/usr/lib*/faketime/libfaketimeMT.so.1'));
plan skip_all => 'needs libfaketime' unless $library;

my $file = PostgreSQL::Test::Utils::tempdir . '/offset';

sub set_clock
{
	my ($offset) = @_;
	open my $out, '>', "$file.new" or die "$file.new: $!";
	print $out "$offset\n";
	close $out;
	rename "$file.new", $file;
	return;
}

set_clock('+0');
my $node;
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{FAKETIME_TIMESTAMP_FILE} = $file;
	local $ENV{FAKETIME_NO_CACHE} = 1;
	# Only the wall clock, as when somebody sets it.
	local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
	local $ENV{DONT_FAKE_MONOTONIC} = 1;
	$node = new_server('clock');
}
my $db = connect_db($node, must => 1);

sub shifted
{
	my ($seconds) = @_;
	return wait_for_true(10, sub { abs(value($db,
		'SELECT extract(epoch FROM clock_timestamp())') - time - $seconds)
		  < 60 });
}

$db->do("SELECT queue.create('q', visibility_timeout => '10 min',
	retry_delay => '0')");
$db->do("SELECT queue.enqueue('q', to_jsonb(i)) FROM generate_series(1, 100) i");
$db->do("SELECT queue.enqueue('q', '\"later\"', delay => '2 h')");
my @first = column($db, "SELECT receipt FROM queue.dequeue('q', 100)");
is(scalar @first, 100, 'all are leased');

set_clock('+3600');
ok(shifted(3600), 'the clock is set an hour ahead');
my @again = column($db,
	"SELECT receipt FROM queue.dequeue('q', 200, wait => '10 s')");
push @again, column($db, "SELECT receipt FROM queue.dequeue('q', 200)");
is(scalar @again, 100, 'hazard 32: each lease ends early, once');
is(value($db, "SELECT queue.ack_batch('q', ?)", \@first), 0,
	'... the receipts of before are stale');
is(value($db, "SELECT queue.ack_batch('q', ?)", [ @again[0 .. 49] ]), 50,
	'... those of now are good');

set_clock('+0');
ok(shifted(0), 'the clock is set back');
is(value($db, "SELECT count(*) FROM queue.dequeue('q', 200)"), 0,
	'... the leases last longer by the step');
is(value($db, "SELECT count(*) FROM queue.q"), 51, '... nothing is lost');
$db->do("SELECT queue.enqueue('q', '\"new\"')");
is(value($db, "SELECT body FROM queue.pop('q')"), '"new"',
	'... what is sent now is delivered now');
is(value($db, "SELECT queue.ack_batch('q', ?)", [ @again[50 .. 99] ]), 50,
	'... receipts stay good');

set_clock('+7300');
ok(shifted(7300), 'ahead again');
is(value($db, "SELECT body FROM queue.dequeue('q', wait => '10 s')"),
	'"later"', '... a delayed message is due by the clock');
is(crashed($node), '', 'no crash');
done_testing();
