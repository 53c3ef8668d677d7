# Queues beside logical replication: a publication of all tables goes on
# working with queues in the database, and does not carry their messages.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep);

my $publisher = new_server('publisher', extension => 0,
	init => { allows_streaming => 'logical' },
	conf => [ 'shared_buffers = 64MB', 'queue.segment_size = 1MB',
		'queue.truncate_grace = 0', 'queue.debug_dedup_period = 700' ]);
my $subscriber = new_server('subscriber', extension => 0,
	init => { allows_streaming => 'logical' });
$_->safe_psql('postgres', 'CREATE TABLE orders (id int PRIMARY KEY)')
  for $publisher, $subscriber;
$publisher->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
my $connstr = sprintf 'host=%s port=%s dbname=postgres', $publisher->host,
  $publisher->port;
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s
	CONNECTION '$connstr' PUBLICATION everything");
$publisher->safe_psql('postgres', 'INSERT INTO orders VALUES (1)');
ok($subscriber->poll_query_until('postgres', 'SELECT count(*) = 1 FROM orders'),
	'replication works');

# A queue comes, with traffic of all kinds.
sub replicated
{
	my ($what, $count) = @_;
	ok(wait_for_true(10, sub {
		$subscriber->safe_psql('postgres', 'SELECT count(*) FROM orders')
		  == $count }), "$what: other tables are replicated");
	my @errors = grep { /ERROR: / } split /\n/, server_log($subscriber);
	is($errors[0] // '', '', "$what: without an error");
	return;
}

$publisher->safe_psql('postgres', 'CREATE EXTENSION queue;
	INSERT INTO orders VALUES (2)');
replicated('CREATE EXTENSION', 2);
$publisher->safe_psql('postgres', "SELECT queue.create('q');
	INSERT INTO orders VALUES (3)");
replicated('queue.create', 3);
my $db = connect_db($publisher, must => 1);
for my $round (1 .. 5)
{
	$db->begin_work;
	$db->do("SELECT queue.enqueue('q', to_jsonb(repeat(md5(i::text), 300)))
		FROM generate_series(1, 200) i");
	# entered, found again, given up by a rollback, entered by another class
	$db->do("SELECT queue.enqueue('q', '0', dedup_id => 'd$round')") for 1 .. 2;
	$db->do('SAVEPOINT s');
	$db->do("SELECT queue.enqueue('q', '0', dedup_id => 'r$round')");
	$db->do('ROLLBACK TO s');
	$db->do('INSERT INTO orders VALUES (?)', undef, 10 + $round);
	$db->commit;
	is(scalar drain($db, 'q'), 201, 'messages pass');
	sleep 0.5;
}
replicated('traffic and rotation', 8);
$db->do("SELECT queue.alter('q', dedup_window => '1 h')");
$db->do("SELECT queue.enqueue('q', '1', dedup_id => 'e')");
$db->do("SELECT queue.purge('q')");
$db->do("SELECT queue.drop('q', true)");
$db->do('INSERT INTO orders VALUES (4)');
replicated('queue.drop', 9);
is(crashed($publisher) . crashed($subscriber), '', 'no crash');
done_testing();
