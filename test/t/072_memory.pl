# No leak: the memory of a session and of the worker stays where it is, however
# many messages pass.  QUEUE_LEAK_MESSAGES sets how many (default 60,000 a
# phase; a million shows leaks of a byte a message).
use strict;
use warnings;

use QueueTest;
use Test::More;

my $messages = $ENV{QUEUE_LEAK_MESSAGES} // 60_000;
my $node = new_server('memory', conf => [ 'fsync = off',
	'queue.truncate_grace = 0', 'queue.segment_size = 2MB' ]);
my $db = connect_db($node, must => 1);
$db->do("SELECT queue.create('q', retry_delay => '0'),
	queue.create('dl'), queue.create('d', max_attempts => 1)");
eval { $db->do("SELECT queue.alter('d', dead_letter => 'dl')") };

# Anonymous memory of a process, in kB: not the shared pages it has touched.
sub anonymous
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/status" or return 0;
	my ($size) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$in>;
	return $size;
}

sub contexts
{
	return value($db, 'SELECT sum(used_bytes)
		FROM pg_backend_memory_contexts');
}

# Everything that a session does over and over.
sub turn
{
	my ($n) = @_;
	$db->do("SELECT queue.enqueue_batch('q', array_agg(to_jsonb(i)))
		FROM generate_series(1, $n) i");
	$db->do("SELECT queue.enqueue('q', to_jsonb(repeat(md5(i::text), 100)),
		key => 'k') FROM generate_series(1, 10) i");
	for my $call ('nack_batch', 'release_batch')
	{
		$db->do("SELECT queue.$call('q', array_agg(receipt))
			FROM queue.dequeue('q', 50)");
	}
	$db->begin_work;
	$db->do("SELECT queue.ack('q', receipt) FROM queue.dequeue('q', 20)");
	$db->do("SAVEPOINT s");
	$db->do("SELECT * FROM queue.pop('q', 20)");
	$db->do("ROLLBACK TO s");
	$db->rollback;
	eval { $db->do("SELECT queue.enqueue('nowhere', '1')") };
	eval { $db->do("SELECT queue.enqueue('q', delay => '-1 s')") };
	$db->do("SELECT * FROM queue.peek('q', 20)");
	$db->do("SELECT * FROM queue.stats, queue.segments");
	$db->do("SELECT queue.enqueue('d', '1')");
	$db->do("SELECT queue.reject('d', receipt) FROM queue.dequeue('d')");
	while (1)
	{
		my $acked = value($db, "SELECT queue.ack_batch('q',
			coalesce(array_agg(receipt), '{}'))
			FROM queue.dequeue('q', 5000)");
		last if $acked == 0;
	}
	return;
}

# Passes messages through and returns what memory is in use afterwards.
sub phase
{
	turn(1000) for 1 .. $messages / 1000;
	$db->do("SELECT queue.purge('d')");
	eval { $db->do("SELECT queue.purge('dl')") };
	my $worker = worker_pid($node);
	return (contexts(), anonymous($db->{pg_pid}), anonymous($worker), $worker);
}

my @warm = phase();
my @first = phase();
my @second = phase();
my @names = ('memory contexts of the session, bytes', 'session, kB',
	'worker, kB');
note sprintf '%s: %s, %s, %s', $names[$_], $warm[$_], $first[$_], $second[$_]
  for 0 .. 2;
is($second[3], $warm[3], 'it was one worker all the time');
# A leak of a byte a message would show at a million of them, of 10 at the
# usual number; what malloc does with the rest is worth 500 kB.
cmp_ok($second[0] - $first[0], '<', 100_000 + $messages / 10,
	'the session keeps no memory');
cmp_ok($second[1] - $first[1], '<', 500 + $messages / 10_000,
	"the session's process does not grow");
cmp_ok($second[2] - $first[2], '<', 500 + $messages / 10_000,
	"the worker's process does not grow");
is(value($db, "SELECT total FROM queue.stats WHERE queue = 'q'"), 0,
	'nothing is left');
is(crashed($node), '', 'no crash');
done_testing();
