# A clock that is set: leases end early or late by the step, and no message is
# lost, delivered after its ack, or acked by a stale receipt (hazard 32 of the
# table in doc/reliability.md).  The server's clock is torture's: libfaketime
# does not reach the worker, whom the postmaster starts in a signal handler.
use strict;
use warnings;

use FindBin;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $dir = PostgreSQL::Test::Utils::tempdir;
my $file = "$dir/clock";
system('cc', '-O2', '-shared', '-fPIC', '-o', "$dir/shim.so",
	"$FindBin::RealBin/../torture/shim.c", '-ldl') == 0
  or die 'cannot build the shim';

# The file is mapped by all processes: write in place.
sub set_clock
{
	my ($seconds) = @_;
	open my $out, (-e $file ? '+<:raw' : '>:raw'), $file or die "$file: $!";
	syswrite $out, pack 'q2', $seconds * 1_000_000, 0;
	close $out;
	return;
}

set_clock(0);
my $node;
{
	local $ENV{LD_PRELOAD} = "$dir/shim.so";
	local $ENV{QUEUE_SHIM} = $file;
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

set_clock(3600);
ok(shifted(3600), 'the clock is set an hour ahead');
my @again = column($db,
	"SELECT receipt FROM queue.dequeue('q', 200, wait => '10 s')");
push @again, column($db, "SELECT receipt FROM queue.dequeue('q', 200)");
is(scalar @again, 100, 'hazard 32: each lease ends early, once');
is(value($db, "SELECT queue.ack_batch('q', ?)", \@first), 0,
	'... the receipts of before are stale');
is(value($db, "SELECT queue.ack_batch('q', ?)", [ @again[0 .. 49] ]), 50,
	'... those of now are good');

$db->do("SELECT queue.create('told')");
$db->do("SELECT queue.enqueue('told', '0')");
is(value($db, "SELECT body FROM queue.pop('told')"), 0,
	'another queue is in use');
# for the worker to tell of it, and to plan what it does next
sleep 2;

set_clock(0);
ok(shifted(0), 'the clock is set back');
is(value($db, "SELECT count(*) FROM queue.dequeue('q', 200)"), 0,
	'... the leases last longer by the step');
is(value($db, "SELECT count(*) FROM queue.q"), 51, '... nothing is lost');
$db->do("SELECT queue.enqueue('q', '\"new\"')");
is(value($db, "SELECT body FROM queue.pop('q')"), '"new"',
	'... what is sent now is delivered now');
is(value($db, "SELECT queue.ack_batch('q', ?)", [ @again[50 .. 99] ]), 50,
	'... receipts stay good');

# The worker does not wait for the times it planned before the step.
$db->do('LISTEN "queue.told"');
$db->do("SELECT queue.enqueue('told', '1')");
ok(wait_for_true(5, sub { $db->pg_notifies }), '... NOTIFY is sent');
my $other = connect_db($node, must => 1, transactions => 1);
is(value($other, "SELECT body FROM queue.pop('told')"), 1, '... a message');
$other->do("PREPARE TRANSACTION 'pop'");
# The session is in no transaction any more, whatever the driver thinks.
$other->{AutoCommit} = 1;
$other->disconnect;
is(value($db, "SELECT count(*) FROM queue.dequeue('told')"), 0,
	'... that a prepared transaction takes');
$db->do("ROLLBACK PREPARED 'pop'");
is(value($db, "SELECT body FROM queue.dequeue('told', wait => '5 s')"), 1,
	'... comes back when that is undone');

set_clock(7300);
ok(shifted(7300), 'ahead again');
is(value($db, "SELECT body FROM queue.dequeue('q', wait => '10 s')"),
	'"later"', '... a delayed message is due by the clock');
# What the worker knows of queues goes with them, within a minute, which passes
# at once here.
sub queues_known
{
	my $from = length server_log($node);
	my $log;
	value($db, 'SELECT pg_log_backend_memory_contexts(?)',
		worker_pid($node));
	wait_for_true(10, sub { $log = substr server_log($node), $from;
		$log =~ /Grand total/ });
	return scalar(() = $log =~ /queue segments:/g);
}

$db->do("SELECT queue.create('brief' || i) FROM generate_series(1, 50) i");
ok(wait_for_true(10, sub { queues_known() >= 50 }),
	'the worker knows many queues');
$db->do("SELECT queue.drop('brief' || i) FROM generate_series(1, 50) i");
set_clock(7400);
ok(wait_for_true(10, sub { queues_known() < 5 }),
	'... and none that is gone');
is(crashed($node), '', 'no crash');
done_testing();
