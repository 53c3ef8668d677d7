# What the TAP tests share: servers with the extension, connections, child
# processes, and a load whose outcome can be checked after a crash.
package QueueTest;

use strict;
use warnings;

use DBI;
use DBD::Pg;
use Exporter 'import';
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  new_server server_conf connect_db column value spawn finish
  wait_for_true wait_for_worker worker_pid start_again crash_server
  crash_and_reconnect
  children_of server_log crashed drain create_load start_load stop_load
  check_load median create_pump start_pump claim_ratio queue_bytes);

# Every server gets these; restart_after_crash since a killed backend is not
# the end of a test, log_statement since the load would fill the disk.
sub server_conf
{
	return join "\n", "shared_preload_libraries = 'queue'",
	  'restart_after_crash = on', 'log_statement = none',
	  'max_connections = 40', 'max_worker_processes = 16',
	  'max_prepared_transactions = 10', 'autovacuum_naptime = 1d', @_;
}

# Servers that run at the end are stopped at once, which leaves no counts of
# lines for make coverage.
my @servers;

END
{
	my $status = $?;
	eval { $_->stop('fast', fail_ok => 1) }
	  for $ENV{COVERAGE} ? @servers : ();
	$? = $status;
}

# A running server with the extension in database postgres.  Options: init
# (for Cluster's init), conf (lines), extension => 0.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	push @servers, $node;
	$node->init(%{ $options{init} // {} });
	$node->append_conf('postgresql.conf',
		server_conf(@{ $options{conf} // [] }));
	$node->start;
	return $node if defined $options{extension} && !$options{extension};
	$node->safe_psql('postgres', 'CREATE EXTENSION queue');
	wait_for_worker($node);
	return $node;
}

# undef when the server does not accept connections.
sub connect_db
{
	my ($node, %options) = @_;
	my $dsn = sprintf 'dbi:Pg:host=%s;port=%s;dbname=%s', $node->host,
	  $node->port, $options{dbname} // 'postgres';
	return DBI->connect($dsn, '', '', {
		RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1,
		AutoCommit => $options{transactions} ? 0 : 1 })
	  if $options{must};
	return eval {
		DBI->connect($dsn, '', '', {
			RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1,
			AutoCommit => $options{transactions} ? 0 : 1 });
	};
}

sub column
{
	my ($db, $sql, @values) = @_;
	return @{ $db->selectcol_arrayref($sql, undef, @values) };
}

sub value
{
	my ($db, $sql, @values) = @_;
	return ($db->selectrow_array($sql, undef, @values))[0];
}

# Runs the code in a process of its own.
sub spawn
{
	my ($code) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	local $SIG{TERM} = 'DEFAULT';
	my $ok = eval { $code->(); 1 };
	print STDERR "# child: $@" unless $ok;
	# No END blocks: the servers are the parent's.
	POSIX::_exit($ok ? 0 : 1);
}

# Waits for such processes; true when all of them succeeded.
sub finish
{
	my $ok = 1;
	for my $pid (@_)
	{
		waitpid $pid, 0;
		$ok = 0 if $?;
	}
	return $ok;
}

# Polls until the code returns true; returns what it last returned.
sub wait_for_true
{
	my ($seconds, $code) = @_;
	my $end = time + $seconds;
	my $result;
	until ($result = eval { $code->() })
	{
		last if time > $end;
		sleep 0.02;
	}
	return $result;
}

sub worker_pid
{
	my ($node, $dbname) = @_;
	$dbname //= 'postgres';
	my $db = connect_db($node, dbname => $dbname) or return;
	my ($pid) = column($db,
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'queue worker'
		 AND datname = ?", $dbname);
	$db->disconnect;
	return $pid;
}

sub wait_for_worker
{
	my ($node, $dbname, $seconds) = @_;
	return wait_for_true($seconds // 30, sub { worker_pid($node, $dbname) });
}

sub children_of
{
	my ($parent) = @_;
	my @children;
	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $in, '<', $stat or next;
		my $line = <$in> // next;
		push @children, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) / && $2 == $parent;
	}
	return @children;
}

# SIGKILL for the postmaster, with all => 1 for all of its children as well,
# which then have no chance to write or say anything.
sub crash_server
{
	my ($node, %options) = @_;
	my $postmaster = $node->{_pid};
	my @children = children_of($postmaster);
	$node->kill9;
	kill 'KILL', @children if $options{all};
	wait_for_true(60, sub { !kill 0, @children });
	return;
}

# Starts a server that crashed; what is left of the old one may take a moment
# to go away.
sub start_again
{
	my ($node) = @_;
	wait_for_true(60, sub { $node->start(fail_ok => 1) })
	  or BAIL_OUT('the server does not start again');
	return;
}

# Kills everything of the server whose connection is given, starts it again,
# and returns a new connection.
sub crash_and_reconnect
{
	my ($node, $db) = @_;
	$db->disconnect;
	crash_server($node, all => 1);
	start_again($node);
	return connect_db($node, must => 1);
}

sub server_log
{
	my ($node) = @_;
	return slurp_file($node->logfile);
}

# What the log says about crashes that the test did not cause.
sub crashed
{
	my ($node) = @_;
	my @lines = grep {
		/PANIC: |TRAP: |terminated by signal (?!9\b)|inconsistent page/
	} split /\n/, server_log($node);
	return join "\n", @lines;
}

# Takes and acks all messages of a queue, waiting for those that are leased or
# delayed.  Returns the ids that were acked.
sub drain
{
	my ($db, $queue, $seconds) = @_;
	my $end = time + ($seconds // 60);
	my @ids;
	while (1)
	{
		my $rows = $db->selectall_arrayref(
			"SELECT id, receipt FROM queue.dequeue(?, 1000)", undef, $queue);
		if (@$rows)
		{
			my $acked = $db->selectcol_arrayref(
				'SELECT id FROM unnest(?::bigint[], ?::bigint[]) x(id, receipt)
				 WHERE queue.ack(?, receipt)', undef,
				[ map { $_->[0] } @$rows ], [ map { $_->[1] } @$rows ],
				$queue);
			push @ids, @$acked;
			die "queue $queue: a lease ended before its time"
			  if @$acked < @$rows;
			next;
		}
		last unless value($db,
			'SELECT EXISTS (SELECT FROM queue.'
			  . $db->quote_identifier($queue) . ')');
		last if time > $end;
		sleep 0.05;
	}
	return @ids;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ @sorted / 2 ];
}

# Makes the procedure that passes messages through a queue: n times, a batch
# is sent, taken and acked, then it pauses for some seconds.  Table "claims"
# gets how long each claim took, measured in the server, so that neither the
# client nor the commits count.
sub create_pump
{
	my ($db) = @_;
	$db->do(q{
		CREATE UNLOGGED TABLE claims (run int, n int, taken int, ms float8);
		CREATE PROCEDURE pump(queue text, run int, n int, size int,
			pause float8)
		LANGUAGE plpgsql AS $$
		DECLARE
			bodies jsonb[] := (SELECT array_agg(jsonb_build_object(
				'job', i, 'url', 'https://example.org/' || md5(i::text),
				'note', repeat('x', 30))) FROM generate_series(1, size) i);
			receipts bigint[];
			began timestamptz;
			ended timestamptz;
		BEGIN
			FOR i IN 1 .. n LOOP
				PERFORM queue.enqueue_batch(queue, bodies);
				COMMIT;
				began := clock_timestamp();
				receipts := ARRAY(SELECT receipt
					FROM queue.dequeue(pump.queue, size));
				ended := clock_timestamp();
				PERFORM queue.ack_batch(queue, receipts);
				INSERT INTO claims VALUES (run, i, cardinality(receipts),
					extract(epoch FROM ended - began) * 1000);
				COMMIT;
				PERFORM pg_sleep(pause);
			END LOOP;
		END $$});
	return;
}

# Starts several sessions that pass messages through; see finish().
sub start_pump
{
	my ($node, $queue, $run, $sessions, $n, $size, $pause) = @_;
	return map { spawn(sub {
		connect_db($node, must => 1)->do('CALL pump(?, ?, ?, ?, ?)', undef,
			$queue, $run, $n, $size, $pause);
	}) } 1 .. $sessions;
}

# The median time of a claim in the last tenth of a run divided by that in the
# first.
sub claim_ratio
{
	my ($db, $run, $n) = @_;
	my ($first, $last) = map { value($db, "SELECT percentile_cont(0.5)
		WITHIN GROUP (ORDER BY ms) FROM claims WHERE run = $run AND $_") }
	  'n <= ' . $n / 10, 'n > ' . ($n - $n / 10);
	note sprintf 'run %d: first tenth %.3f ms, last tenth %.3f ms, ratio %.2f',
	  $run, $first, $last, $last / $first;
	return $last / $first;
}

# All that a queue has on disk, and the catalogs that could bloat by it.
sub queue_bytes
{
	my ($db, $queue) = @_;
	return value($db, q{
		SELECT sum(pg_total_relation_size(c)) FROM (
			SELECT d.relation FROM queue.queue_def d WHERE d.name = $1
			UNION SELECT s.relation FROM queue.segment_def s
				JOIN queue.queue_def d ON d.id = s.queue_id WHERE d.name = $1
			UNION SELECT unnest(ARRAY['queue.segment_def', 'queue.queue_def',
				'queue.forwarding', 'pg_class', 'pg_attribute', 'pg_depend'
				]::regclass[])) r(c)}, $queue);
}


# ---------------------------------------------------------------------------
# The load.  Producers write each message's id to the table "sent" in the
# transaction that sends it, consumers to "done" in the one that acks it.  So
# after a crash the database itself says what must be delivered: sent and not
# done.  What the clients were told about their commits is kept in files.
# ---------------------------------------------------------------------------

sub create_load
{
	my ($node, $queue, %options) = @_;
	my $visibility = $options{visibility} // '2 s';
	$node->safe_psql('postgres', qq{
		SELECT queue.create('$queue', visibility_timeout => '$visibility',
			retry_delay => '10 ms', retry_max_delay => '1 s');
		CREATE TABLE sent (id bigint PRIMARY KEY);
		CREATE TABLE done (id bigint PRIMARY KEY);});
	return;
}

# Calls the code with a connection again and again, a new one when it broke.
sub endlessly
{
	my ($node, $stop, $code) = @_;
	my $db;
	until (-e $stop)
	{
		$db //= connect_db($node, transactions => 1);
		if (!defined $db)
		{
			sleep 0.05;
			next;
		}
		next if eval { $code->($db); 1 };
		my $error = $@;
		# A constraint violation is a message done or sent twice.
		die $error if ($db->state // '') =~ /^23/;
		eval { $db->rollback };
		undef $db unless $db->ping > 0;
	}
	return;
}

sub produce
{
	my ($node, $queue, $log, $stop) = @_;
	endlessly($node, $stop, sub {
		my ($db) = @_;
		my $n = 1 + int rand 8;
		# One in eight is stored out of line, one in ten delayed.
		my @bodies = map {
			my $filler = rand() < 0.125
			  ? join('', map { chr 97 + rand 26 } 1 .. 9000) : 'x' x rand 200;
			qq({"filler":"$filler"})
		} 1 .. $n;
		my $delay = rand() < 0.1 ? '300 ms' : undef;
		my $ids;
		if ($n == 1)
		{
			$ids = [ value($db,
				'SELECT queue.enqueue(?, ?::jsonb, delay => ?::interval)',
				$queue, $bodies[0], $delay) ];
		}
		else
		{
			$ids = value($db,
				'SELECT queue.enqueue_batch(?, ?::jsonb[], delay => ?::interval)',
				$queue, \@bodies, $delay);
		}
		$db->do('INSERT INTO sent SELECT unnest(?::bigint[])', undef, $ids);
		if (rand() < 0.1)
		{
			$db->rollback;
			print $log "rolled back $_\n" for @$ids;
			return;
		}
		$db->commit;
		print $log "sent $_\n" for @$ids;
	});
	return;
}

sub consume
{
	my ($node, $queue, $log, $stop) = @_;
	endlessly($node, $stop, sub {
		my ($db) = @_;
		my $rows = $db->selectall_arrayref(
			'SELECT id, receipt FROM queue.dequeue(?, ?, wait => ?)', undef,
			$queue, 1 + int rand 20, '200 ms');
		$db->commit;
		print $log "receipt $_->[1]\n" for @$rows;
		my $what = rand;
		if ($what < 0.05)
		{
			return;				# like a consumer that forgot
		}
		elsif ($what < 0.1)
		{
			$db->do('SELECT queue.nack_batch(?, ?)', undef, $queue,
				[ map { $_->[1] } @$rows ]);
			$db->commit;
			return;
		}
		my @acked;
		for my $row (@$rows)
		{
			next unless value($db, 'SELECT queue.ack(?, ?)', $queue, $row->[1]);
			push @acked, $row->[0];
			$db->do('INSERT INTO done VALUES (?)', undef, $row->[0]);
		}
		if ($what < 0.2)
		{
			$db->rollback;
			return;
		}
		$db->commit;
		print $log "done $_\n" for @acked;
	});
	return;
}

# Starts producers and consumers.  Returns a handle for stop_load.
sub start_load
{
	my ($node, $queue, %options) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my %load = (stop => "$dir/stop", queue => $queue, files => [], pids => []);
	my @roles = ((\&produce) x ($options{producers} // 3),
		(\&consume) x ($options{consumers} // 3));
	for my $i (0 .. $#roles)
	{
		my $file = "$dir/$i.log";
		push @{ $load{files} }, $file;
		push @{ $load{pids} }, spawn(sub {
			srand($$);
			open my $log, '>', $file or die "$file: $!";
			$log->autoflush(1);
			$roles[$i]->($node, $queue, $log, $load{stop});
		});
	}
	return \%load;
}

# Stops it; with 0 producers and consumers left.  False when one of them saw
# what must not be.
sub stop_load
{
	my ($load) = @_;
	append_to_file($load->{stop}, 'stop');
	return finish(@{ $load->{pids} });
}

# Everything that was sent and not done must come, once, and nothing else.
sub check_load
{
	my ($node, $load, $what, $dbname) = @_;
	my $db = connect_db($node, must => 1, dbname => $dbname);
	my $queue = $load->{queue};
	my (%told, %sent, %done, %drained);
	for my $file (@{ $load->{files} })
	{
		for my $line (split /\n/, slurp_file($file))
		{
			my ($event, $id) = $line =~ /^(.*) (-?\d+)$/ or next;
			$told{$event}{$id}++;
		}
	}
	$sent{$_} = 1 for column($db, 'SELECT id FROM sent');
	$done{$_} = 1 for column($db, 'SELECT id FROM done');
	note sprintf '%s: %d sent, %d done, %d rolled back, %d leases', $what,
	  scalar keys %sent, scalar keys %done,
	  scalar keys %{ $told{'rolled back'} // {} },
	  scalar keys %{ $told{receipt} // {} };
	cmp_ok(scalar keys %sent, '>', 100, "$what: something was sent");
	cmp_ok(scalar keys %done, '>', 100, "$what: something was done");

	is(value($db, "SELECT count(*) FROM queue.$queue m WHERE NOT EXISTS
		(SELECT FROM queue.get('$queue', m.id))"), 0,
		"$what: get() finds every message that is there");
	$drained{$_}++ for drain($db, $queue);
	my @lost = grep { !$done{$_} && !$drained{$_} } keys %sent;
	is("@lost[0 .. ($#lost > 9 ? 9 : $#lost)]", '', "$what: nothing is lost");
	my @again = grep { $done{$_} } keys %drained;
	is("@again", '', "$what: nothing is delivered that was acked");
	my @twice = grep { $drained{$_} > 1 } keys %drained;
	is("@twice", '', "$what: nothing is delivered twice after its ack");
	my @phantoms = grep { !$sent{$_} } keys %drained, keys %done;
	is("@phantoms", '', "$what: nothing is delivered that was not committed");
	is(scalar(grep { !$sent{$_} } keys %{ $told{sent} }), 0,
		"$what: every commit that was reported is there");
	is(scalar(grep { !$done{$_} } keys %{ $told{done} }), 0,
		"$what: every ack that was reported is there");

	my @receipts = keys %{ $told{receipt} // {} };
	is(value($db, 'SELECT queue.ack_batch(?, ?)', $queue, \@receipts), 0,
		"$what: none of its receipts is good for anything any more");
	is(value($db, 'SELECT total FROM queue.stats WHERE queue = ?', $queue), 0,
		"$what: stats agree");
	$db->disconnect;
	return;
}

1;
