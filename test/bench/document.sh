#!/bin/bash
# Puts the figures of a run into doc/performance.md, and draws its plots.
#
#   test/bench/document.sh bench.json [FILE [IMAGES]]
#   test/bench/document.sh --instructions TABLE [FILE]
#
# Only the text between "<!-- figures: NAME -->" and "<!-- end -->" changes.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
page=$bench/../../doc/performance.md

if [ "$1" = --instructions ]; then
	python3 "$bench/lib/document.py" --instructions "$2" "${3:-$page}"
	exit
fi
file=${2:-$page}

python3 "$bench/lib/document.py" "$1" "$file"
"$bench/plot.sh" "$1" "${3:-$(dirname "$file")/img}"
