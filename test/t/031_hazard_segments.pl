# What happens to segments behind the back of those who use them: stragglers
# moved while their consumers settle or others claim them, truncation beside a
# late producer, readers in the way of a truncation, DDL on the tables.  The
# numbers are those of the table in doc/reliability.md.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('segments', conf => [ 'queue.segment_size = 1MB',
	'queue.truncate_grace = 0', 'autovacuum = off', 'wal_level = replica' ]);
my $db = connect_db($node, must => 1);
need_debug_build($db);
my ($a, $b, $c) = map { connect_db($node, must => 1) } 1 .. 3;

sub segments
{
	my ($queue, $condition) = @_;
	return column($db, "SELECT s.relation FROM queue.segment_def s
		JOIN queue.queue_def d ON d.id = s.queue_id
		WHERE d.name = '$queue' AND $condition ORDER BY life");
}

# A queue with more than a segment's worth of leased messages, one of which
# carries the number 1; returns their receipts by number.
sub fill
{
	my ($queue) = @_;
	$db->do("SELECT queue.create('$queue', visibility_timeout => '1 h',
		retry_delay => '0', retry_backoff => 'none')");
	$db->do("SELECT queue.enqueue_batch('$queue', array_agg(
		jsonb_build_object('n', i, 'x', repeat('x', 500))))
		FROM generate_series(1, 2500) i");
	my %receipt;
	for my $row (@{ $db->selectall_arrayref("SELECT body->>'n', receipt
		FROM queue.dequeue('$queue', 2500)") })
	{
		$receipt{ $row->[0] } = $row->[1];
	}
	return \%receipt;
}

sub ack_others
{
	my ($queue, $receipts, @but) = @_;
	my %keep = map { $_ => 1 } @but;
	return value($db, 'SELECT queue.ack_batch(?, ?)', $queue,
		[ map { $receipts->{$_} } grep { !$keep{$_} } keys %$receipts ]);
}

# How often each message that is left has been delivered, how often it failed,
# and its state, in the order of their numbers.
sub left
{
	my ($queue) = @_;
	return join '; ', column($db, "SELECT concat_ws(' ', body->>'n', deliveries,
		failures, CASE WHEN lease <> 0 THEN 'leased' ELSE 'free' END)
		FROM queue.$queue ORDER BY (body->>'n')::int");
}

# --- 10: a straggler that is moved just now

for my $place ('stragglers', 'unparked')
{
	my $q = "moved_$place";
	my $receipt = fill($q);
	# The fourth will be due while it is moved.
	$db->do("SELECT queue.release('$q', ?, '4 s')", undef, $receipt->{4});
	my $due = time + 4;
	worker_stop_at($node, $db, $place);
	is(ack_others($q, $receipt, 1 .. 4), 2496, 'all are acked but four');
	reached($node, $place);
	sleep 0.05 while time < $due + 0.1;
	my @calls = (
		begin_call($a, "SELECT queue.nack('$q', ?)", $receipt->{1}),
		begin_call($b, "SELECT queue.ack('$q', ?)", $receipt->{2}),
		begin_call($c, "SELECT queue.extend('$q', ?, '2 h')", $receipt->{3}));
	my $other = connect_db($node, must => 1);
	my $claim = begin_call($other, "SELECT body->>'n'
		FROM queue.dequeue('$q', 10)");
	call_ended($_, 0.1) for @calls, $claim;
	release($node, $place);
	is(join(' ', map { scalar end_call($_) } @calls), '1 1 1',
		"hazard 10: receipts of a message that is moved ($place) are good");
	my @got = end_call($claim);
	# The claim may have passed them over, for good reason.
	wait_for_true(10, sub {
		push @got, column($db,
			"SELECT body->>'n' FROM queue.dequeue('$q', 10)");
		@got >= 2 });
	is(join(' ', sort @got), '1 4', '... each free one is delivered once');
	is(left($q), '1 2 1 leased; 3 1 0 leased; 4 2 0 leased',
		'... nothing that was done to them is lost, no copy stays behind');
	ok(wait_for_true(10, sub { 0 < scalar segments($q,
		"s.chain = 'm' AND s.state = 'f'") }),
		'... and they keep no segment from being emptied');
	is(value($db, "SELECT queue.ack('$q', ?)", $receipt->{3}), 1,
		"... a lease's first receipt stays good after that");
	is(value($db, "SELECT queue.ack('$q', ?)", $receipt->{3}), 0,
		'... once');
}
$db->do('ALTER SYSTEM RESET queue.debug_pause');
$db->do('SELECT pg_reload_conf()');

# --- 10: far-delayed messages are stored apart and stay where they are

$db->do("SELECT queue.create('far')");
$db->do("SELECT queue.enqueue('far', to_jsonb(i), delay => '1 h')
	FROM generate_series(1, 1000) i");
my $place = value($db, "SELECT string_agg(tableoid || ' ' || ctid, ',')
	FROM queue.far");
is(join(' ', segments('far', "s.chain = 'p' AND s.state = 'o'")),
	value($db, 'SELECT DISTINCT tableoid::regclass FROM queue.far'),
	'hazard 10: far-delayed messages go to the parking chain');
for (1 .. 2)
{
	$db->do("SELECT queue.enqueue_batch('far', array_agg(
		jsonb_build_object('n', i, 'x', repeat('x', 500))))
		FROM generate_series(1, 2500) i");
	$db->do("SELECT queue.ack_batch('far', array_agg(receipt))
		FROM queue.dequeue('far', 2500)");
	ok(wait_for_true(20, sub { 0 < scalar segments('far',
		"s.chain = 'm' AND s.state = 'f'") }), 'the main chain rotates');
}
is(value($db, "SELECT string_agg(tableoid || ' ' || ctid, ',')
	FROM queue.far"), $place, '... and they are not carried along');

# --- 18: a producer who is late, and truncation

# The worker shall have no other segment to empty.
$db->do("SELECT queue.drop(name, force => true) FROM queue.queue_def");
my $receipt = fill('late');
my $sender = connect_db($node, must => 1, transactions => 1);
# It has chosen its segment and holds the lock, and writes only later.
stop_at($node, $sender, 'append');
$sender->commit;
my $send = begin_call($sender, "SELECT queue.enqueue('late', '\"late\"')");
reached($node, 'append');
worker_stop_at($node, $db, 'drained');
ack_others('late', $receipt);
reached($node, 'drained');
release($node, 'append');
end_call($send);
$sender->commit;
release($node, 'drained');
sleep 1.5;
$db->do('ALTER SYSTEM RESET queue.debug_pause');
$db->do('SELECT pg_reload_conf()');
is(value($db, "SELECT body FROM queue.dequeue('late')"), '"late"',
	'hazard 18: what was sent after the look at a drained segment is there');

# --- 18: somebody reads a segment that could be truncated

$receipt = fill('watched');
my ($segment) = segments('watched', "s.chain = 'm' AND s.state = 'o'");
my $reader = connect_db($node, must => 1, transactions => 1);
value($reader, "SELECT count(*) FROM $segment");
ack_others('watched', $receipt);
ok(wait_for_true(20, sub { 0 < scalar segments('watched',
	"s.chain = 'm' AND s.state = 's'") }), 'the segment is sealed');
sleep 1.5;
my $next = 'SELECT pg_snapshot_xmax(pg_current_snapshot())';
my $before = value($db, $next);
my $start = time;
while (time < $start + 4)
{
	my $began = time;
	$db->do("SELECT count(*) FROM queue.dequeue('watched')");
	ok(0, 'a consumer waits') if time - $began > 0.5;
	ok(0, 'the worker waits') if value($db, "SELECT count(*)
		FROM pg_stat_activity WHERE backend_type = 'queue worker'
		AND wait_event_type = 'Lock'");
	sleep 0.1;
}
is(value($db, $next) - $before, 0,
	'hazard 18: a truncation that somebody is in the way of costs no xid');
$reader->commit;
ok(wait_for_true(20, sub { 0 == scalar segments('watched',
	"s.chain = 'm' AND s.state = 's'") }), '... and is done when he has gone');

# --- 7: DDL on the tables: an error, never a crash

$db->do("SELECT queue.create('ddl')");
$db->do("SELECT queue.enqueue('ddl', '1') FROM generate_series(1, 3)");
$receipt = value($db, "SELECT receipt FROM queue.dequeue('ddl')");
my ($table) = segments('ddl', "s.chain = 'm' AND s.state = 'o'");
$db->do('CREATE TABLE other (id bigint PRIMARY KEY)');
$db->do('CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN RETURN NULL; END $$');
for my $ddl (
	'ALTER TABLE queue.ddl ALTER visible_at TYPE text,
		ALTER deliveries TYPE text',
	'ALTER TABLE queue.ddl DROP COLUMN failures',
	'ALTER TABLE queue.ddl ADD COLUMN extra int',
	"ALTER TABLE queue.ddl ADD COLUMN extra int DEFAULT 7",
	'ALTER TABLE queue.ddl ALTER lease DROP NOT NULL',
	'ALTER TABLE queue.ddl ALTER key SET NOT NULL',
	"ALTER TABLE queue.ddl ALTER body TYPE text",
	"ALTER TABLE $table ALTER key SET DEFAULT 'x'",
	"ALTER TABLE $table ADD CHECK (id > 0)",
	"CREATE INDEX ON $table (id)",
	"ALTER TABLE $table ADD PRIMARY KEY (id)",
	"ALTER TABLE $table ENABLE ROW LEVEL SECURITY",
	"CREATE RULE r AS ON DELETE TO $table DO INSTEAD NOTHING")
{
	my $name = $ddl =~ s/\s+/ /gr;
	$db->do('BEGIN');
	if (!eval { $db->do($ddl); 1 })
	{
		pass("hazard 7: PostgreSQL refuses: $name");
		$db->do('ROLLBACK');
		next;
	}
	my @states;
	for my $call ("SELECT count(*) FROM queue.dequeue('ddl')",
		"SELECT queue.enqueue('ddl', '1')",
		"SELECT queue.ack('ddl', $receipt)",
		"SELECT queue.nack('ddl', $receipt)",
		"SELECT count(*) FROM queue.pop('ddl')",
		"SELECT queue.purge('ddl')")
	{
		$db->do('SAVEPOINT s');
		push @states, eval { $db->do($call); 1 } ? 'ok' : $db->state;
		$db->do('ROLLBACK TO s');
	}
	is("@states", '55000 55000 55000 55000 55000 55000',
		"hazard 7: all is refused after $name");
	$db->do('ROLLBACK');
}
# Committed, with a session that has used the table, and the worker.
$db->do("ALTER TABLE queue.ddl ALTER visible_at TYPE text,
	ALTER deliveries TYPE text");
ok(!eval { $a->do("SELECT queue.dequeue('ddl')"); 1 }, '... also committed');
is($a->state, '55000', '... with its SQLSTATE');
sleep 1.5;
is(value($db, "SELECT count(visible_at) FROM queue.ddl"), 3,
	'... and the table can be read');

is(crashed($node), '', 'no crash');
done_testing();
