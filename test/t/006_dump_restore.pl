# pg_dump and restore of a queue with messages in every state: all of them are
# there afterwards, leases are ended without a failure, receipts of the old
# database are good for nothing, and the new one works at once.
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_server('dump', conf => [ 'max_worker_processes = 20' ]);
my $dir = PostgreSQL::Test::Utils::tempdir;
my $db = connect_db($node, must => 1);
my $odd = qq{odd "name" ' ü};

$db->do(q{
	CREATE ROLE app;
	SELECT queue.create('q', max_attempts => 3, retry_delay => '10 ms',
		comment => 'kept');
	SELECT queue.grant_access('q', 'app', 'send');});
$db->do('SELECT queue.create(?)', undef, $odd);
$db->do("SELECT queue.create('empty')");

# In order: leased after a failure, leased, delayed, dead, ready and long.
my @body = ('"failed"', '"leased"', '"delayed"', '"dead"');
my (%id, %receipt);

sub enqueue
{
	my ($body, $more) = @_;
	return $id{$body} = value($db,
		"SELECT queue.enqueue('q', ?::jsonb" . ($more // '') . ')', $body);
}

# Leases the one message there is that can be claimed.
sub claim
{
	my ($body, $visibility) = @_;
	my ($id, $receipt) = $db->selectrow_array(
		"SELECT id, receipt FROM queue.dequeue('q', 1, ?, '5 s')", undef,
		$visibility // '1 h');
	is($id, $id{$body}, "$body is claimed");
	return $receipt{$body} = $receipt;
}

enqueue('"failed"');
value($db, "SELECT queue.nack('q', ?, '0')", claim('"failed"'));
claim('"failed"');
enqueue('"leased"');
claim('"leased"');
enqueue('"dead"');
value($db, "SELECT queue.reject('q', ?)", claim('"dead"'));
enqueue('"delayed"', ", delay => '1 h'");
my $long = value($db, "SELECT to_jsonb(string_agg(md5(i::text), ''))
	FROM generate_series(1, 20000) i");
enqueue($long);
$db->do("SELECT queue.enqueue('q', to_jsonb(i), headers => '{\"h\": 1}',
	key => 'k') FROM generate_series(1, 5000) i");
$db->do("SELECT queue.alter(?, dedup_window => '1 h')", undef, $odd);
my $sent = value($db, "SELECT queue.enqueue(?, '7', dedup_id => 'x')", $odd);
# Some that are gone.
my @gone = column($db, "SELECT id FROM queue.pop('q', 1)");
delete $id{$long} if $gone[0] == $id{$long};
my $total = value($db, 'SELECT count(*) FROM queue.q');
my $top = value($db, 'SELECT max(id) FROM queue.q');

# What the restored database must be like; ends with DROP EXTENSION.
sub check
{
	my ($what, $dbname) = @_;
	my $start = time;
	my $new = connect_db($node, dbname => $dbname, must => 1);
	my $enqueued = value($new, "SELECT queue.enqueue('q', '\"new\"')");
	cmp_ok($enqueued, '>', $top, "$what: enqueue works, ids go on");
	is(value($new, "SELECT queue.enqueue(?, '8', dedup_id => 'x')", $odd),
		$sent, "$what: dedup_ids count");
	is(value($new, "SELECT body FROM queue.dequeue(?, wait => '20 s')", $odd),
		7, "$what: the queue with the odd name as well");
	is(value($new, "SELECT queue.create('empty'), queue.enqueue('empty', '1')"),
		'', "$what: an empty queue is there");

	my %got;
	wait_for_true(30, sub {
		my $rows = $new->selectall_hashref(
			"SELECT id, body, failures, deliveries, receipt, headers, key
			 FROM queue.dequeue('q', 10000, '1 h')", 'id');
		%got = (%got, %$rows);
		keys %got >= $total - 1 });
	# All but the delayed and the dead one, and the new one in addition.
	is(scalar keys %got, $total - 1, "$what: all are delivered");
	is($got{$enqueued}{body}, '"new"', "$what: the new one too");
	is($got{ $id{'"failed"'} }{failures}, 1,
		"$what: an ended lease is no failure");
	is($got{ $id{'"failed"'} }{deliveries}, 3, "$what: deliveries are kept");
	is($got{ $id{'"leased"'} }{failures}, 0,
		"$what: nor is it for one that never failed");
	is(scalar(grep { ($_->{headers} // '') eq '{"h": 1}' &&
			($_->{key} // '') eq 'k' } values %got), $total - 4 -
		(exists $id{$long} ? 1 : 0),
		"$what: with headers and key");
	is(value($new, 'SELECT count(*) FROM queue.q WHERE body = ?::jsonb', $long),
		exists $id{$long} ? 1 : 0, "$what: a long body is what it was");
	is(value($new, "SELECT state FROM queue.get('q', ?)", $id{'"delayed"'}),
		'delayed', "$what: the delayed message is delayed");
	is(value($new, "SELECT state FROM queue.get('q', ?)", $id{'"dead"'}),
		'dead', "$what: the dead message is dead");
	is(value($new, "SELECT queue.ack_batch('q', ?)", [ values %receipt ]), 0,
		"$what: receipts of the old database are good for nothing");
	is(value($new, "SELECT queue.ack_batch('q', ?)",
			[ map { $_->{receipt} } values %got ]), $total - 1,
		"$what: those of the new one are good");
	is(value($new, "SELECT comment FROM queue.queues WHERE queue = 'q'"),
		'kept', "$what: the comment is there");
	ok(value($new, "SELECT has_table_privilege('app', 'queue.q', 'INSERT')"),
		"$what: privileges are there");
	ok(!eval { $new->do("DELETE FROM queue.q"); 1 },
		"$what: plain SQL cannot write");

	$new->do('DROP EXTENSION queue');
	is(value($new, "SELECT count(*) FROM pg_class c JOIN pg_namespace n
		ON n.oid = relnamespace WHERE nspname = 'queue'"), 0,
		"$what: DROP EXTENSION leaves no table");
	is(value($new, "SELECT count(*) FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND refobjid NOT IN
		(SELECT oid FROM pg_extension)"), 0, "$what: and no dependency");
	$new->disconnect;
	return;
}

sub create_database
{
	my ($name) = @_;
	$db->do("CREATE DATABASE $name TEMPLATE template0");
	return $name;
}

# Before the worker of the new database is there, and with it.
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", 'postgres' ], 'pg_dump');
create_database('plain');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f',
		"$dir/plain.sql", 'plain' ], 'psql reads the dump');
check('plain', 'plain');

$node->command_ok([ 'pg_dump', '-Fd', '-j4', '-f', "$dir/directory",
		'postgres' ], 'pg_dump -j');
create_database('parallel');
$node->command_ok([ 'pg_restore', '-j4', '--exit-on-error', '-d', 'parallel',
		"$dir/directory" ], 'pg_restore -j');
check('parallel', 'parallel');

create_database('existing');
$node->safe_psql('existing', 'CREATE EXTENSION queue');
ok(wait_for_worker($node, 'existing'), 'a worker runs');
# It begins with CREATE SCHEMA, which is there already; all else must pass.
my ($out, $err);
IPC::Run::run([ 'pg_restore', '-j4', '-d', $node->connstr('existing'),
		"$dir/directory" ], '>', \$out, '2>', \$err);
my @errors = grep { /error:/ && !/schema "queue" already exists/ }
  split /\n/, $err;
is("@errors", '', 'pg_restore into a database with a worker');
check('with a worker', 'existing');

create_database('one_transaction');
$node->command_ok([ 'pg_restore', '-1', '-d', 'one_transaction',
		"$dir/directory" ], 'pg_restore in one transaction');
check('one transaction', 'one_transaction');

# Schema and data apart.
create_database('parts');
$node->command_ok([ 'pg_restore', '--schema-only', '--exit-on-error', '-d',
		'parts', "$dir/directory" ], 'the schema');
$node->command_ok([ 'pg_restore', '--data-only', '--disable-triggers',
		'--exit-on-error', '-d', 'parts', "$dir/directory" ], 'the data');
check('schema, then data', 'parts');

is(value($db, 'SELECT count(*) FROM queue.q'), $total,
	'the dumped database is as it was');
is(value($db, "SELECT queue.ack('q', ?)", $receipt{'"leased"'}), 1,
	'so are its leases');
is(crashed($node), '', 'no crash');
done_testing();
