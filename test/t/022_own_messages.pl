# A transaction gets the messages that it sent itself, also when another
# session looks at their pages, where to it they are undecided, in between.
use strict;
use warnings;

use Hazard;
use QueueTest;
use Test::More;

my $node = new_server('own');
my $db = connect_db($node, must => 1);
my $other = connect_db($node, must => 1);
need_debug_build($db);
$db->do("SELECT queue.create('q')");

for my $call ("queue.dequeue('q', 5000)", "queue.pop('q', 5000)")
{
	$db->begin_work;
	value($db, "SELECT cardinality(queue.enqueue_batch('q',
		array_agg(to_jsonb(i)))) FROM generate_series(1, 5000) i");
	stop_at($node, $db, 'own_shown');
	my $count = begin_call($db, "SELECT count(*) FROM $call");
	reached($node, 'own_shown');
	is(value($other, "SELECT count(*) FROM queue.dequeue('q', 100)"), 0,
		'the other session gets nothing');
	release($node, 'own_shown');
	is(end_call($count), 5000, "$call: all of them");
	$db->do('RESET queue.debug_pause');
	$db->rollback;
}
is(crashed($node), '', 'no crash');
done_testing();
