# Races between sessions that look at the same message or page, each forced by
# stopping one of them at the worst place.  The numbers are those of the table
# in doc/reliability.md.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('races');
my $db = connect_db($node, must => 1);
need_debug_build($db);
my ($a, $b) = map { connect_db($node, must => 1) } 1 .. 2;

# A queue with n messages.
sub fill
{
	my ($queue, $n, %options) = @_;
	$db->do("SELECT queue.create('$queue', visibility_timeout => '1 h',
		retry_delay => '0', retry_backoff => 'none')");
	$db->do("SELECT queue.enqueue_batch('$queue',
		array_agg(to_jsonb(i))) FROM generate_series(1, $n) i") if $n;
	return;
}

sub get
{
	my ($queue, $visibility) = @_;
	return value($db, "SELECT receipt FROM queue.dequeue('$queue',
		visibility => ?)", $visibility // '1 h');
}

# The receipt of a lease that has expired and that nobody took over.
sub expired
{
	my ($queue) = @_;
	my $receipt = get($queue, '100 ms');
	wait_for_true(20, sub { value($db,
		"SELECT ready FROM queue.stats WHERE queue = '$queue'") });
	sleep 0.1;
	return $receipt;
}

sub live
{
	my ($queue) = @_;
	return value($db, "SELECT count(*) FROM queue.$queue");
}

# --- 2: the receipt is checked in the lock cycle that deletes

for my $call ('ack', 'nack', 'release', 'reject')
{
	my $q = "checked_$call";
	fill($q, 1);
	my $receipt = expired($q);
	stop_at($node, $a, 'matched');
	my $settle = begin_call($a, "SELECT queue.$call('$q', ?)", $receipt);
	reached($node, 'matched');
	my $claim = begin_call($b, "SELECT id FROM queue.dequeue('$q')");
	call_ended($claim, 0.3);
	release($node, 'matched');
	my $settled = end_call($settle);
	my @claimed = end_call($claim);
	# A message given back may well be claimed after that.
	my $expected = $call eq 'nack' || $call eq 'release' ? 1 : 0;
	is("$settled, " . @claimed, "1, $expected",
		"hazard 2: $call decided, its lease expired: nobody else has it");
	is(value($db, "SELECT coalesce(sum(deliveries), 0) FROM queue.$q"),
		$call eq 'ack' ? 0 : 1 + $expected, '... delivered that often');
	is(value($db, "SELECT coalesce(sum((lease <> 0)::int), 0)
		FROM queue.$q"), $expected, '... and its lease is whole');
}

for my $call ('ack', 'nack', 'release', 'reject', 'extend')
{
	my $q = "late_$call";
	fill($q, 1);
	my $receipt = expired($q);
	stop_at($node, $a, 'settle');
	my $settle = begin_call($a, "SELECT queue.$call('$q', ?"
		  . ($call eq 'extend' ? ", '2 h')" : ')'), $receipt);
	reached($node, 'settle');
	my $taken = get($q);
	ok(defined $taken, "hazard 2: claimed before $call has the page");
	my $before = value($db, "SELECT visible_at FROM queue.$q");
	release($node, 'settle');
	is(end_call($settle), 0, "... $call comes too late");
	is(value($db, "SELECT visible_at FROM queue.$q"), $before,
		'... and changes nothing');
	is(value($db, "SELECT queue.ack('$q', ?)", $taken), 1,
		"... the other's receipt is good");
}

# Two claims of one message; cancel and purge against a claim.
for my $pair ([ 'pop', 'dequeue' ], [ 'dequeue', 'pop' ],
	[ 'dequeue', 'dequeue' ], [ 'pop', 'pop' ])
{
	my ($first, $second) = @$pair;
	my $q = "${first}_$second";
	fill($q, 1);
	stop_at($node, $a, 'picked');
	my $one = begin_call($a, "SELECT id FROM queue.$first('$q')");
	reached($node, 'picked');
	my $other = begin_call($b, "SELECT id FROM queue.$second('$q')");
	call_ended($other, 0.3);
	release($node, 'picked');
	my @one = end_call($one);
	my @other = end_call($other);
	is(@one . ', ' . @other, '1, 0',
		"hazard 2: $first has picked a message, $second finds none");
}

fill('cancelled', 1);
stop_at($node, $a, 'judged');
my $cancel = begin_call($a,
	"SELECT queue.cancel('cancelled', id) FROM queue.peek('cancelled')");
reached($node, 'judged');
my $claim = begin_call($b, "SELECT id FROM queue.dequeue('cancelled')");
call_ended($claim, 0.3);
release($node, 'judged');
my $cancelled = end_call($cancel);
my @claimed = end_call($claim);
is("$cancelled, " . @claimed, '1, 0',
	'hazard 2: what cancel has judged, nobody claims');

fill('uncancelled', 1);
stop_at($node, $a, 'picked');
$claim = begin_call($a, "SELECT id FROM queue.dequeue('uncancelled')");
reached($node, 'picked');
$cancel = begin_call($b,
	"SELECT queue.cancel('uncancelled', id) FROM queue.peek('uncancelled')");
call_ended($cancel, 0.3);
release($node, 'picked');
@claimed = end_call($claim);
is(@claimed . ', ' . end_call($cancel), '1, 0',
	'hazard 2: what somebody claims is not cancelled');

# --- 4: a commit between the look at a page and the entry into the map

fill('between', 1);
my $worker = pause_worker($node);
my $sender = connect_db($node, must => 1, transactions => 1);
$sender->do("SELECT queue.enqueue('between', '2')");
stop_at($node, $a, 'looked');
$claim = begin_call($a, "SELECT id FROM queue.dequeue('between', 10)");
reached($node, 'looked');
$sender->commit;
release($node, 'looked');
is(scalar(() = end_call($claim)), 1, 'hazard 4: the committed message comes');
is(scalar column($b, "SELECT id FROM queue.dequeue('between', 10)"), 1,
	'... and the one committed during the look is not forgotten');
continue_worker($worker);

# The same where the look found the page empty.
fill('emptied', 1);
$worker = pause_worker($node);
$sender->do("SELECT queue.enqueue('emptied', '2')");
stop_at($node, $a, 'looked');
$claim = begin_call($a, "SELECT id FROM queue.pop('emptied', 10)");
reached($node, 'looked');
$sender->commit;
release($node, 'looked');
is(scalar(() = end_call($claim)), 1, 'hazard 4: a pop takes the first');
is(scalar column($b, "SELECT id FROM queue.dequeue('emptied', 10)"), 1,
	'... the other stays to be found');
continue_worker($worker);

# --- 12: nothing is allocated in the callbacks: there it would abort

fill('callbacks', 0);
my $t = connect_db($node, must => 1, transactions => 1);
$t->do("SELECT queue.enqueue_batch('callbacks', array_agg(to_jsonb(i)))
	FROM generate_series(1, 20000) i");
$t->commit;
value($t, "SELECT count(*) FROM queue.dequeue('callbacks', 9000)");
$t->rollback;
value($t, "SELECT count(*) FROM queue.pop('callbacks', 9000)");
$t->do('SAVEPOINT s');
value($t, "SELECT count(*) FROM queue.pop('callbacks', 100)");
$t->do('ROLLBACK TO s');
$t->do("PREPARE TRANSACTION 'p'");
$t->rollback;
$db->do("ROLLBACK PREPARED 'p'");
$t->do("SELECT queue.create('callbacks2')");
$t->do("SELECT queue.alter('callbacks2', max_attempts => 3)");
$t->commit;
$t->do("SELECT queue.drop('callbacks2')");
$t->commit;
is(live('callbacks'), 20000,
	'hazard 12: ends of large transactions allocate nothing');

# --- 16: asleep, or empty-handed, with a ready message there

fill('busy', 2);
stop_at($node, $a, 'looked');
my $first = begin_call($a, "SELECT id FROM queue.dequeue('busy')");
reached($node, 'looked');
my $second = begin_call($b, "SELECT id FROM queue.dequeue('busy')");
call_ended($second, 0.3);
release($node, 'looked');
is(scalar(() = end_call($first)), 1, 'hazard 16: one takes a message');
is(scalar(() = end_call($second)), 1,
	'... the other waits for the busy page and gets the second');

fill('asleep', 0);
stop_at($node, $a, 'nap');
my $start = time;
my $wait = begin_call($a,
	"SELECT id FROM queue.dequeue('asleep', wait => '20 s')");
reached($node, 'nap');
$db->do("SELECT queue.enqueue('asleep', '1')");
release($node, 'nap');
is(scalar(() = end_call($wait)), 1,
	'hazard 16: sent between the last look and the sleep');
cmp_ok(time - $start, '<', 1.5, '... it is not slept over');

# The one that was woken is cancelled before it looks.
fill('passed', 0);
stop_at($node, $a, 'nap');
my $first_pid = value($a, 'SELECT pg_backend_pid()');
$wait = begin_call($a, "SELECT id FROM queue.dequeue('passed', wait => '20 s')");
reached($node, 'nap');
$start = time;
my $next = begin_call($b,
	"SELECT id FROM queue.dequeue('passed', wait => '20 s')");
wait_for_true(20, sub { 2 == value($db, "SELECT count(*)
	FROM queue.consumers WHERE queue = 'passed'") })
  or ok(0, 'two consumers wait');
# With its commit the first one is woken, who is at the place and asleep.
$db->do("SELECT queue.enqueue('passed', '1')");
$db->do("SELECT pg_cancel_backend($first_pid)");
is(end_call($wait), 'error 57014', 'hazard 16: a woken waiter is cancelled');
is(scalar(() = end_call($next)), 1, '... and passes its wake-up on');
cmp_ok(time - $start, '<', 2, '... at once');

# A rolled back pop has its failure counted while a call that has read the
# clock comes along: the message was ready all the time.
fill('clock', 1);
my $popper = connect_db($node, must => 1, transactions => 1);
value($popper, "SELECT id FROM queue.pop('clock')");
stop_at($node, $a, 'own_shown');
my $late = begin_call($a, "SELECT id FROM queue.dequeue('clock')");
reached($node, 'own_shown');
$popper->rollback;
ok(wait_for_true(10, sub { 1 == value($db, "SELECT failures
	FROM queue.peek('clock')") }), 'hazard 16: a failure is counted');
release($node, 'own_shown');
is(scalar(() = end_call($late)), 1,
	'... and the message is not hidden from who has read the clock');
$popper->disconnect;

is(crashed($node), '', 'no crash');
done_testing();
