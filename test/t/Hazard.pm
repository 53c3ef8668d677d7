# Forcing races: statements that run while the test goes on, and places in the
# server at which a process stops (src/debug.c, in a build with DEBUG=1).
package Hazard;

use strict;
use warnings;

use Exporter 'import';
use QueueTest;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  need_debug_build stop_at reached release worker_stop_at begin_call
  call_ended end_call pause_worker continue_worker explain_wal);

my %paused;

# The tests of races cannot run otherwise.
sub need_debug_build
{
	my ($db) = @_;
	return if eval { value($db, 'SHOW queue.debug_pause'); 1 };
	plan skip_all => 'needs a build with DEBUG=1';
	return;
}

sub mark
{
	my ($node, $point, $what) = @_;
	return $node->data_dir . "/queue.$point.$what";
}

# The session will stop at this place, once, until release().
sub stop_at
{
	my ($node, $db, $point) = @_;
	unlink mark($node, $point, $_) for qw(reached release);
	$db->do("SET queue.debug_pause = '$point=30000'");
	return;
}

# The same for the worker.
sub worker_stop_at
{
	my ($node, $db, $point) = @_;
	unlink mark($node, $point, $_) for qw(reached release);
	$db->do("ALTER SYSTEM SET queue.debug_pause = '$point=30000'");
	$db->do('SELECT pg_reload_conf()');
	return;
}

# Has somebody come to the place?  Waits for it.
sub reached
{
	my ($node, $point, $seconds) = @_;
	my $there = wait_for_true($seconds // 20,
		sub { -e mark($node, $point, 'reached') });
	ok(0, "somebody comes to $point") unless $there;
	return $there;
}

sub release
{
	my ($node, $point) = @_;
	PostgreSQL::Test::Utils::append_to_file(mark($node, $point, 'release'),
		'');
	return;
}

# Starts a statement; the session is busy until end_call(), which returns its
# first column.
sub begin_call
{
	my ($db, $sql, @values) = @_;
	my $statement = $db->prepare($sql, { pg_async => 1 });
	$statement->execute(@values);
	return [ $db, $statement ];
}

# Is the statement over within so many seconds?
sub call_ended
{
	my ($call, $seconds) = @_;
	return wait_for_true($seconds, sub { $call->[0]->pg_ready });
}

sub end_call
{
	my ($call, $seconds) = @_;
	my ($db, $statement) = splice @$call;
	# The driver would take a statement that ends later for a running one.
	if (!call_ended([ $db ], $seconds // 30))
	{
		$db->pg_cancel;
		return 'still running';
	}
	return eval {
		$db->pg_result;
		map { $_->[0] } @{ $statement->fetchall_arrayref };
	} if wantarray;
	my $rows = eval { $db->pg_result; $statement->fetchall_arrayref };
	return 'error ' . $db->state unless defined $rows;
	return @$rows ? $rows->[0][0] : undef;
}

# Nobody shall repair behind the test's back what was forgotten.
sub pause_worker
{
	my ($node, $dbname) = @_;
	my $pid = worker_pid($node, $dbname);
	kill 'STOP', $pid;
	$paused{$pid} = 1;
	return $pid;
}

sub continue_worker
{
	my ($pid) = @_;
	kill 'CONT', $pid;
	delete $paused{$pid};
	return;
}

# Bytes of WAL that the code writes.
sub explain_wal
{
	my ($db, $code) = @_;
	my $before = value($db, 'SELECT pg_current_wal_insert_lsn()');
	$code->();
	return value($db, 'SELECT pg_current_wal_insert_lsn() - ?::pg_lsn',
		$before);
}

END
{
	kill 'CONT', keys %paused if %paused;
}

1;
