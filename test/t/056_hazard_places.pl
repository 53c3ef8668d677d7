# Queues of a database or an extension that is dropped give up their places in
# shared memory, of which there are two here.
use strict;
use warnings;

use QueueTest;
use Test::More;

my $node = new_server('places', extension => 0,
	conf => ['queue.max_queues = 2']);
my $db = connect_db($node, must => 1);

# A fifo queue cannot deliver without a place.
sub use_queues
{
	my ($dbname) = @_;
	$db->do("CREATE DATABASE $dbname");
	my $other = connect_db($node, dbname => $dbname, must => 1);
	$other->do('CREATE EXTENSION queue');
	$other->do("SELECT queue.create('q', 'fifo')");
	$other->do("SELECT queue.enqueue('q', '1')");
	is(wait_for_true(25, sub { value($other,
		"SELECT count(*) FROM queue.dequeue('q')") }), 1,
		"$dbname: a message is delivered");
	return $other;
}

for my $i (1 .. 3)
{
	use_queues("dropped$i")->disconnect;
	$db->do("DROP DATABASE dropped$i");
}
for my $i (1 .. 3)
{
	use_queues("kept$i")->do('DROP EXTENSION queue CASCADE');
}

is(crashed($node), '', 'no crash');
$node->stop;
done_testing();
