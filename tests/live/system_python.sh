#!/usr/bin/env bash
# Runs a gateway that serves one call, and the tests of the policy, on the Python that the system brings.
#   tests/live/system_python.sh [PYTHON]
# Debian 12 has Python 3.11.2; developers' machines have newer releases, in which python/cpython#103479 is mended.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-/usr/bin/python3}
venv=.venv-system

leave() {
    echo "the gateway is not tested on the system's own Python: $1"
    exit 0
}

[ -x "$python" ] || leave "there is no $python"
version=$("$python" -c 'import platform; print(platform.python_version())')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || leave "$python is $version, older than 3.11"
"$python" -c 'import ensurepip' 2>/dev/null || leave "$python makes no environments: apt-get install python3-venv"
make "$venv/dev.stamp" VENV="$venv" PYTHON="$python"
echo "the gateway on $python, $version:"
# -rP: print what the test of the call prints. No cache, because the other environment's runs use it.
"$venv/bin/python" -m pytest -q -rP -p no:cacheprovider tests/live/test_first_call.py
"$venv/bin/python" -m pytest -q -p no:cacheprovider tests/policy
