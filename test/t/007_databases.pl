# Life and death of databases and extensions: several databases with queues,
# CREATE EXTENSION twice, DROP EXTENSION; and what wants a database for itself
# is not held up by the worker for longer than two seconds.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('databases');
my $db = connect_db($node, must => 1);

sub fails_with
{
	my ($handle, $sql, $state, $what) = @_;
	ok(!eval { $handle->do($sql); 1 }, $what);
	is($handle->state, $state, '... with its SQLSTATE');
	return;
}

sub delivers
{
	my ($what, $dbname) = @_;
	my $other = connect_db($node, dbname => $dbname, must => 1);
	my $id = value($other,
		"SELECT queue.enqueue('same', '1', delay => '100 ms')");
	my ($got, $receipt) = $other->selectrow_array(
		"SELECT id, receipt FROM queue.dequeue('same', wait => '20 s')");
	is($got, $id, "$what: a delayed message wakes a consumer");
	$other->do("SELECT queue.ack('same', ?)", undef, $receipt);
	$other->disconnect;
	return;
}

sub quickly
{
	my ($sql) = @_;
	my $start = time;
	my $ok = eval { $db->do($sql); 1 };
	my $seconds = time - $start;
	ok($ok, "$sql, with a worker there") or diag($@);
	cmp_ok($seconds, '<', 2, sprintf 'took %.2f s', $seconds);
	return;
}

# Twice, and in a transaction that rolls back.
fails_with($db, 'CREATE EXTENSION queue', '42710', 'CREATE EXTENSION twice');
ok(eval { $db->do('CREATE EXTENSION IF NOT EXISTS queue'); 1 },
	'IF NOT EXISTS');
$db->do("SELECT queue.create('same')");
delivers('at first', 'postgres');

# Two databases with a queue of the same name.
$db->do('CREATE DATABASE two');
$node->safe_psql('two', q{CREATE EXTENSION queue;
	SELECT queue.create('same'), queue.enqueue('same', '"two"')});
ok(wait_for_worker($node, 'two'), 'a second database has its own worker');
is(value($db, "SELECT count(*) FROM queue.dequeue('same')"), 0,
	'a message goes to no other database');
is($node->safe_psql('two', "SELECT body FROM queue.pop('same')"), '"two"',
	'it is in its own');
delivers($_, $_) for qw(postgres two);
is(value($db, "SELECT count(DISTINCT database) FROM queue.workers
	WHERE pid IS NOT NULL AND database IN ('postgres', 'two')"), 2,
	'the view shows both workers');

# A receipt means nothing elsewhere, not even in a copy of its database.
my $two = connect_db($node, dbname => 'two', must => 1);
$two->do("SELECT queue.enqueue('same', to_jsonb(i)) FROM generate_series(1, 9) i");
my @receipts = column($two, "SELECT receipt FROM queue.dequeue('same', 5, '1 h')");
$two->disconnect;
quickly('CREATE DATABASE three TEMPLATE two');
my $three = connect_db($node, dbname => 'three', must => 1);
my %got;
wait_for_true(30, sub {
	$got{ $_->[0] } = $_ for @{ $three->selectall_arrayref(
		"SELECT id, failures, receipt FROM queue.dequeue('same', 10, '1 h')") };
	keys %got == 9 });
is(scalar keys %got, 9, 'in the copy all messages are delivered');
is(scalar(grep { $_->[1] } values %got), 0, 'none of them as failed');
is(value($three, "SELECT queue.ack_batch('same', ?)", \@receipts), 0,
	'receipts of the original are good for nothing in the copy');
is(value($three, "SELECT queue.ack_batch('same', ?)",
		[ map { $_->[2] } values %got ]), 9, 'its own are good');
$three->disconnect;
$two = connect_db($node, dbname => 'two', must => 1);
is(value($two, "SELECT queue.ack_batch('same', ?)", \@receipts), 5,
	'in the original they are');
drain($two, 'same');
$two->disconnect;
ok(wait_for_worker($node, 'three'), 'the copy has a worker');
delivers('the copy', 'three');

# Rename, move, drop, each with a worker connected.
ok(wait_for_worker($node, 'two'), 'the original has its worker again');
quickly('ALTER DATABASE two RENAME TO deux');
ok(wait_for_worker($node, 'deux'), 'the renamed database has a worker');
delivers('renamed', 'deux');
my $space = PostgreSQL::Test::Utils::tempdir;
$db->do("CREATE TABLESPACE aside LOCATION '$space'");
wait_for_worker($node, 'deux');
quickly('ALTER DATABASE deux SET TABLESPACE aside');
ok(wait_for_worker($node, 'deux'), 'the moved database has a worker');
delivers('moved', 'deux');
wait_for_worker($node, 'deux');
quickly('DROP DATABASE deux');
wait_for_worker($node, 'three');
quickly('DROP DATABASE three');
ok(wait_for_true(15, sub { value($db, "SELECT count(*) FROM queue.workers
	WHERE database IS NULL OR database IN ('deux', 'three')") == 0 }),
	'dropped databases are forgotten');

# In a template, of which every new database is a copy.
$node->safe_psql('template1',
	"CREATE EXTENSION queue; SELECT queue.create('same')");
sleep 1.5;
quickly('CREATE DATABASE four');
quickly('CREATE DATABASE five');
ok(wait_for_worker($node, 'four'), 'a copy of a template has a worker');
delivers('copy of a template', 'four');

# DROP EXTENSION takes everything along, the worker too, but not in vain.
my $four = connect_db($node, dbname => 'four', must => 1);
$four->do("SELECT queue.enqueue('same', '1')");
$four->do("SELECT queue.create('other'), queue.enqueue('other', '1')");
my $objects = "SELECT count(*) FROM pg_class c JOIN pg_namespace n
	ON n.oid = relnamespace WHERE nspname = 'queue'";
$four->begin_work;
$four->do('DROP EXTENSION queue');
is(value($four, $objects), 0, 'DROP EXTENSION takes the queues along');
$four->rollback;
delivers('DROP EXTENSION rolled back', 'four')
  if is(value($four, "SELECT count(*) FROM queue.pop('same')"), 1,
	'rolled back, the messages are there');
$four->do('DROP EXTENSION queue');
is(value($four, $objects), 0, 'dropped, no table is left');
ok(wait_for_true(10, sub { !worker_pid($node, 'four') }),
	'and its worker leaves');
$four->do('DROP SCHEMA IF EXISTS queue');
$four->begin_work;
$four->do('CREATE EXTENSION queue');
$four->rollback;
$four->do('CREATE EXTENSION queue');
$four->do("SELECT queue.create('same')");
ok(wait_for_worker($node, 'four'), 'created again, there is one again');
delivers('created again', 'four');
# At once, in the sessions that know the old one.
$four->do('DROP EXTENSION queue');
$four->do('CREATE EXTENSION queue');
$four->do("SELECT queue.create('same')");
is(value($four, "SELECT count(*) FROM queue.dequeue('same')"), 0,
	'dropped and created in one go: the queue is empty');
delivers('dropped and created in one go', 'four');

# A consumer that waits does not keep the others from dropping what it uses.
my $waiter = spawn(sub {
	my $own = connect_db($node, dbname => 'four', must => 1);
	die 'it got something' if eval {
		$own->do("SELECT queue.dequeue('same', wait => '1 min')"); 1 };
	die $own->errstr unless $own->state eq '42704';
});
wait_for_true(10, sub { value($four, "SELECT count(*) FROM queue.consumers
	WHERE queue = 'same' AND state = 'waiting'") });
my $start = time;
$four->do("SELECT queue.drop('same', true)");
cmp_ok(time - $start, '<', 2, 'dropping a queue that is waited for');
ok(finish($waiter), 'the consumer is told that it is gone');

is(crashed($node), '', 'no crash');
done_testing();
