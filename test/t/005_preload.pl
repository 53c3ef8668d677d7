# Without the library in shared_preload_libraries every call says what to do;
# nothing is lost by it.
use strict;
use warnings;

use QueueTest;
use Test::More;

my $node = new_server('preload', extension => 0);
my $line = "shared_preload_libraries = 'queue'";

sub restart_with
{
	my ($value) = @_;
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', $value);
	$node->restart;
	return connect_db($node, must => 1);
}

sub refused
{
	my ($db, $sql) = @_;
	ok(!eval { $db->do($sql); 1 }, "$sql fails");
	is($db->state, '55000', '... with its SQLSTATE');
	like($db->errstr, qr/^HINT: .*\Q$line\E/m, '... and the line to add');
	return;
}

my $db = restart_with("''");
refused($db, 'CREATE EXTENSION queue');
is(value($db, "SELECT count(*) FROM pg_extension WHERE extname = 'queue'"), 0,
	'and leaves nothing behind');

$db = restart_with("'queue'");
$db->do('CREATE EXTENSION queue');
$db->do("SELECT queue.create('q')");
$db->do("SELECT queue.enqueue('q', '1')");

$db = restart_with("''");
refused($db, $_) for "SELECT queue.enqueue('q', '1')",
  "SELECT queue.enqueue_batch('q', ARRAY['1'::jsonb])",
  "SELECT * FROM queue.dequeue('q')", "SELECT * FROM queue.pop('q')",
  "SELECT * FROM queue.dequeue_any(ARRAY['q'])", "CALL queue.receive('q')",
  "SELECT queue.ack('q', 1)", "SELECT queue.nack('q', 1)",
  "SELECT queue.release('q', 1)", "SELECT queue.extend('q', 1, '1 s')",
  "SELECT queue.create('other')", "SELECT queue.purge('q')",
  "SELECT queue.cancel('q', 1)";
is(value($db, 'SELECT count(*) FROM queue.q'), 1,
	'plain SQL still reads the messages');
is(value($db, 'SELECT count(*) FROM queue.queues'), 1,
	'and the view of the queues works');

$db = restart_with("'queue'");
is(value($db, "SELECT body FROM queue.dequeue('q', wait => '5 s')"), 1,
	'with the library again, the message is delivered');

# Whoever removes the library for good can drop the extension.
$db = restart_with("''");
ok(eval { $db->do('DROP EXTENSION queue'); 1 },
	'DROP EXTENSION works without the library') or diag($@);
is(value($db, "SELECT count(*) FROM pg_class c JOIN pg_namespace n
	ON n.oid = relnamespace WHERE nspname = 'queue'"), 0, 'no table is left');
is(crashed($node), '', 'no crash');
done_testing();
