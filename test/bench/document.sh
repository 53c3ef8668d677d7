#!/bin/bash
# Puts the figures of a run into doc/performance.md, and draws its plots.
#
#   test/bench/document.sh bench.json [FILE [IMAGES]]
#
# Only the text between "<!-- figures: NAME -->" and "<!-- end -->" changes.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
file=${2:-$bench/../../doc/performance.md}

python3 "$bench/lib/document.py" "$1" "$file"
"$bench/plot.sh" "$1" "${3:-$(dirname "$file")/img}"
