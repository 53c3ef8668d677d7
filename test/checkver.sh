#!/bin/bash
# The version in queue.control, META.json, CHANGELOG.md and sql/ is the same.
# -q: say nothing when it is.
set -u

cd "$(dirname "$0")/.." || exit 1
status=0

complain() {
	echo "$1:1: $2"
	status=1
}

control=$(sed -nE "s/^default_version *= *'([^']+)'.*/\1/p" queue.control)
# An extension's 1.0 is 1.0.0 where versions must have three parts.
three=$control
[[ $three == *.*.* ]] || three=$three.0

[ -n "$control" ] || complain queue.control "no default_version"
[ -f "sql/queue--$control.sql" ] ||
	complain queue.control "no sql/queue--$control.sql"
newest=$(sed -nE 's/^## ([0-9.]+).*/\1/p' CHANGELOG.md | head -n 1)
[ "$newest" = "$three" ] ||
	complain CHANGELOG.md "newest is '$newest', queue.control says $control"
{
	read -r version
	read -r provided
	read -r file
} < <(perl -MJSON::PP -0777 -ne '
	my $meta = decode_json($_);
	print "$_\n" for $meta->{version}, $meta->{provides}{queue}{version},
		$meta->{provides}{queue}{file};' META.json)
[ "$version $provided" = "$three $three" ] ||
	complain META.json "version '$version', provides '$provided', not $three"
[ "$file" = "sql/queue--$control.sql" ] ||
	complain META.json "provides file '$file'"

[ "$status" != 0 ] || [ "${1-}" = -q ] || echo "version $control"
exit "$status"
