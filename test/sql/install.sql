--
-- CREATE EXTENSION makes the schema "queue" and these objects in it, each with
-- a comment, and gives PUBLIC the functions for users and nothing else.
--
CREATE EXTENSION queue;
SELECT extversion ~ '^[0-9]+\.[0-9]+$' AS version, extrelocatable,
       extnamespace::regnamespace AS schema
  FROM pg_extension
 WHERE extname = 'queue';

-- A second time is refused, or skipped.
CREATE EXTENSION queue;
\echo :LAST_ERROR_SQLSTATE
CREATE EXTENSION IF NOT EXISTS queue;

-- Every object of the extension, what PUBLIC may do with it, whether it has a
-- comment.  Privileges that were never set are the defaults.
WITH member AS (
    SELECT i.type, i.identity, d.classid, d.objid,
           CASE d.classid
               WHEN 'pg_class'::regclass THEN
                   (SELECT coalesce(relacl, acldefault(
                               CASE relkind WHEN 'S' THEN 's'::"char"
                                            ELSE 'r' END, relowner))
                      FROM pg_class WHERE oid = d.objid)
               WHEN 'pg_proc'::regclass THEN
                   (SELECT coalesce(proacl, acldefault('f', proowner))
                      FROM pg_proc WHERE oid = d.objid)
               WHEN 'pg_type'::regclass THEN
                   (SELECT coalesce(typacl, acldefault('T', typowner))
                      FROM pg_type WHERE oid = d.objid)
               WHEN 'pg_namespace'::regclass THEN
                   (SELECT coalesce(nspacl, acldefault('n', nspowner))
                      FROM pg_namespace WHERE oid = d.objid)
           END AS acl
      FROM pg_depend d,
           pg_identify_object(d.classid, d.objid, d.objsubid) i
     WHERE d.refclassid = 'pg_extension'::regclass
       AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'queue')
       AND d.deptype = 'e'
)
SELECT type,
       -- what the parameters are is shown below
       regexp_replace(identity, '\(.*', '()') AS object,
       (SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type)
          FROM aclexplode(acl) WHERE grantee = 0) AS public,
       obj_description(objid, classid::regclass::name) IS NOT NULL AS comment
  FROM member
 WHERE NOT (type = 'type' AND objid IN (SELECT reltype FROM pg_class
                                         WHERE relkind IN ('r', 'v')))
 ORDER BY type COLLATE "C", identity COLLATE "C";

-- Each column of a table, a view or a type has a comment, and the schema.
SELECT c.relname, a.attname AS without_comment
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'queue'::regnamespace AND c.relkind IN ('r', 'v', 'c')
   AND col_description(c.oid, a.attnum) IS NULL
 ORDER BY c.relname COLLATE "C", a.attnum;
SELECT obj_description('queue'::regnamespace, 'pg_namespace') AS schema;

-- What pg_monitor may do.
SELECT c.relname, a.privilege_type
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace = 'queue'::regnamespace
   AND a.grantee = 'pg_monitor'::regrole
UNION ALL
SELECT p.proname, a.privilege_type
  FROM pg_proc p, aclexplode(p.proacl) a
 WHERE p.pronamespace = 'queue'::regnamespace
   AND a.grantee = 'pg_monitor'::regrole
 ORDER BY 1;

-- The parameters of each function, their defaults and results: a contract.
\pset format unaligned
SELECT p.proname AS function,
       pg_get_function_arguments(p.oid) AS parameters,
       pg_get_function_result(p.oid) AS result,
       p.provolatile AS volatility, p.proparallel AS parallel,
       p.proisstrict AS strict, p.prosecdef AS definer
  FROM pg_proc p
 WHERE p.pronamespace = 'queue'::regnamespace
 ORDER BY p.proname COLLATE "C";
\pset format aligned

-- The columns of each view and of a message; the first names what it is about.
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, NULL),
                             E'\n' ORDER BY a.attnum) AS columns
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'queue'::regnamespace AND c.relkind IN ('v', 'c')
 GROUP BY c.relname
 ORDER BY c.relname COLLATE "C";

-- The extension's tables go into a dump with their rows.
SELECT c::regclass AS dumped
  FROM pg_extension, unnest(extconfig) c
 WHERE extname = 'queue'
 ORDER BY c::regclass::text COLLATE "C";

-- No queue yet.
SELECT * FROM queue.queues;
SELECT * FROM queue.stats;
SELECT * FROM queue.in_flight;
SELECT * FROM queue.segments;
SELECT * FROM queue.consumers;

--
-- Helpers of the tests that follow.
--

-- The error that a statement raises, as one text; "no error" when there is
-- none.
CREATE FUNCTION public.error_of(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN sqlstate || ': ' || message
           || CASE WHEN detail <> '' THEN E'\n   DETAIL: ' || detail ELSE '' END
           || CASE WHEN hint <> '' THEN E'\n   HINT: ' || hint ELSE '' END;
END $$;

-- Waits until a condition becomes true, at most 20 seconds.
CREATE FUNCTION public.wait_until(condition text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    result boolean;
    deadline timestamptz := clock_timestamp() + '20 s';
BEGIN
    LOOP
        EXECUTE 'SELECT ' || condition INTO result;
        IF result OR clock_timestamp() > deadline THEN
            RETURN result;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION public.error_of, public.wait_until TO PUBLIC;
