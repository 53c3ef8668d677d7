# queue: message queues inside PostgreSQL
#
#   make, make install, make installcheck   as with every PGXS extension
#   make demo, make test                    on a bare Debian, see README.md
#   make lint, make checkver                house rules, versions in step
#
# PG_CONFIG=/path/to/pg_config chooses the PostgreSQL to build for.
# WERROR=1 makes warnings errors, ASSERT=1 turns our Asserts on (they work in
# a server without asserts), DEBUG=1 compiles the debugging functions in.

MODULE_big = queue
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
EXTENSION = queue
DATA = $(sort $(wildcard sql/queue--*.sql))
PGFILEDESC = "queue - message queues inside PostgreSQL"

# Alphabetical, but "install" creates the extension and comes first, and
# "uninstall" comes last.
regress_found := $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS := $(filter install,$(regress_found)) \
	$(filter-out install uninstall,$(regress_found)) \
	$(filter uninstall,$(regress_found))
REGRESS := $(strip $(REGRESS))
REGRESS_OPTS = --inputdir=test

# PGXS says --outputdir=output_iso, where expected/ would then be looked for.
ISOLATION := $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.

EXTRA_CLEAN = results regression.diffs regression.out

# PostgreSQL's function interface leaves parameters unused, and its headers
# compare signed with unsigned and initialize structs in part.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers
# A PostgreSQL configured for gcc hands clang gcc's flags and attributes.
PG_CFLAGS += $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option \
	-Wno-ignored-optimization-argument -Wno-ignored-attributes)
ifdef WERROR
PG_CFLAGS += -Werror
endif
ifdef ASSERT
PG_CFLAGS += -DUSE_ASSERT_CHECKING
endif
ifdef DEBUG
PG_CFLAGS += -DQUEUE_DEBUG
endif
ifdef COVERAGE
PG_CFLAGS += --coverage
endif

# Before 16 the libraries of a server share one name space: export only what
# the server looks up by name.
version_script = -Wl,--version-script=queue.exports
SHLIB_LINK += $(if $(filter linux,$(PORTNAME)),$(version_script))
ifdef COVERAGE
SHLIB_LINK += --coverage
endif

# Bitcode would let JIT inline our functions, which gains nothing here, and
# ties the build to the clang that the server was built with.
override with_llvm = no

ifndef PG_CONFIG
PG_CONFIG := $(shell test/pg_config.sh)
endif
PGXS := $(if $(PG_CONFIG),$(shell $(PG_CONFIG) --pgxs 2>/dev/null))

.DEFAULT_GOAL := all

ifeq ($(wildcard $(PGXS)),)
all install installcheck clean:
	@echo "PostgreSQL's development files are missing (PG_CONFIG='$(PG_CONFIG)')." >&2
	@echo "On Debian: apt-get install postgresql-server-dev-15, or test/setup.sh" >&2
	@exit 1
else
include $(PGXS)
# Few enough files that any header rebuilds all.
$(OBJS): $(wildcard src/*.h)
$(shlib): queue.exports
endif

# lint's slow sisters: static analysis, and lines that no test reaches.
ifneq ($(wildcard test/tools),)
.PHONY: analyze coverage
analyze:
	@test/tools/analyze.sh

coverage:
	@test/tools/coverage.sh
endif

ifneq ($(wildcard test/torture/soak.sh),)
.PHONY: soak
# SECONDS=3600
soak:
	@SECONDS_TO_RUN=$(or $(SECONDS),3600) test/torture/soak.sh
endif

.PHONY: demo test lint checkver
demo:
	@test/demo/run.sh

# ONLY="lint regress isolation tap" chooses stages, TESTS="a b" tests in them,
# UPDATE=1 takes the results for the expected ones, KEEP=1 keeps the files.
test:
	@test/run.sh

lint:
	@test/lint.sh

checkver:
	@test/checkver.sh

ifneq ($(wildcard test/bench/run.sh),)
.PHONY: bench
# BENCH="--full --install --state /var/tmp/bench", see test/bench/run.sh --help
bench:
	@test/bench/run.sh $(BENCH)
endif

ifneq ($(wildcard test/fuzz/run.sh),)
.PHONY: fuzz
# SECONDS=60 SEED=1
fuzz:
	@SECONDS_TO_RUN=$(or $(SECONDS),60) SEED=$(SEED) test/fuzz/run.sh
endif

ifneq ($(wildcard test/torture/run.sh),)
.PHONY: torture
# SECONDS=60 SEED=1
torture:
	@SECONDS_TO_RUN=$(or $(SECONDS),60) SEED=$(SEED) test/torture/run.sh
endif
