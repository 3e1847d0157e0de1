"""What the tests with agent programs share: having them, and telling Codex where our model is."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

CODEX_CONFIG = """
model = "gpt-5"
model_provider = "ours"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.ours]
name = "Ours"
base_url = "{url}/v1"
env_key = "CODEX_API_KEY"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
"""


def install():
    """The directory of the programs; a test that has none fails, it doesn't skip."""
    result = subprocess.run([os.path.join(HERE, "install")], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                            timeout=600, check=False)
    if result.returncode:
        sys.exit("the agent programs could not be installed: tests/real/install says why above")
    return result.stdout.strip()
