#!/bin/bash
# Draws the plots of doc/performance.md from the figures of a run.
#
#   test/bench/plot.sh bench.json [DIRECTORY]     default: doc/img
#
# Needs python3 and gnuplot (Debian: gnuplot-nox). FORMAT=png draws PNG.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
json=$(realpath "$1")
out=$(realpath -m "${2:-$bench/../../doc/img}")
format=${FORMAT:-svg}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $format in
	svg) terminal="svg size 720,420 font 'sans-serif,13' background 'white'" ;;
	png) terminal="pngcairo size 1080,630 font 'sans,14'" ;;
	*) echo "FORMAT is svg or png" >&2 && exit 2 ;;
esac
command -v gnuplot >/dev/null ||
	{ echo 'gnuplot is missing (Debian: gnuplot-nox)' >&2; exit 2; }
mkdir -p "$out"

# Writes NAME.dat files with a block for each curve, and NAME.gp.
python3 "$bench/lib/plot.py" "$json" "$work"
for script in "$work"/*.gp; do
	[ -e "$script" ] || { echo 'No figures to draw' >&2; exit 1; }
	name=$(basename "$script" .gp)
	(
		echo "set terminal $terminal"
		echo "set output '$out/$name.$format'"
		cat "$script"
	) >"$work/run"
	(cd "$work" && gnuplot run)
	echo "$out/$name.$format"
done
