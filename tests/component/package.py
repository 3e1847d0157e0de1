#!/usr/bin/python3
"""The Debian package: it has every program, unit and page, its scripts and examples are sound, and what is in it runs."""
import glob
import re
import shutil
import tempfile

from cli_support import check, finish, os, subprocess

BUILD = os.environ.get("ROTA_BUILD") or os.path.dirname(os.environ["ROTA_BIN"])
PROGRAMS = ("rota", "rota-agent", "rota-broker", "rota-scheduler", "rota-telemetry")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **more)


place = tempfile.mkdtemp(prefix="rota-test-package-")
made = run("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", place)
found = glob.glob(os.path.join(place, "*.deb"))
check("one package is made", made.returncode == 0 and len(found) == 1, made)
root, control = os.path.join(place, "root"), os.path.join(place, "control")
for option, target in (("-x", root), ("-e", control)):
    check(f"dpkg-deb {option}", run("dpkg-deb", option, found[0], target).returncode == 0)

fields = run("dpkg-deb", "-f", found[0]).stdout
check("it depends on the libraries that it uses", all(name in fields for name in ("libzmq5", "libczmq4", "libsqlite3-0", "libprotobuf-c1")),
      fields)
check("and recommends the programs", "Recommends: git, bubblewrap" in fields, fields)
units = sorted(os.path.basename(path) for path in glob.glob(os.path.join(root, "usr/lib/systemd/system/*")))
check("it has the units", units == ["rota-agent@.service", "rota-broker.service", "rota-scheduler.service", "rota-telemetry.service",
                                    "rota.target"], units)
with open(os.path.join(control, "postinst"), encoding="utf-8") as file:
    script = file.read()
check("and enables none", not os.path.exists(os.path.join(root, "etc/systemd")) and "systemctl enable" not in script)
check("an upgrade leaves alone what runs", re.findall(r"systemctl (\S+)", script) == ["daemon-reload"], script)
for path in ("usr/lib/sysusers.d/rota.conf", "usr/lib/tmpfiles.d/rota.conf", "etc/rota/rota.yaml", "etc/rota/agent.env",
             "usr/share/man/man1/rota.1", "usr/share/bash-completion/completions/rota", "usr/share/zsh/vendor-completions/_rota",
             "usr/share/doc/rota/operations.md", "usr/share/doc/rota/reference/settings.md"):
    check(f"it has /{path}", os.path.isfile(os.path.join(root, path)))
with open(os.path.join(control, "conffiles"), encoding="utf-8") as file:
    conffiles = file.read().split()
check("what is in /etc is a conffile", sorted(conffiles) == sorted("/" + os.path.relpath(path, root) for path in
                                                                     glob.glob(os.path.join(root, "etc/**/*.*"), recursive=True)), conffiles)
for script in ("postinst", "prerm", "postrm"):
    path = os.path.join(control, script)
    check(f"{script} can be run, and is a shell script", os.access(path, os.X_OK) and run("sh", "-n", path).returncode == 0)

for program in PROGRAMS:
    shown = run(os.path.join(root, "usr/bin", program), "--version")
    check(f"{program} says its version", shown.returncode == 0 and shown.stdout.startswith(program + " "), shown)
for unit in glob.glob(os.path.join(root, "usr/lib/systemd/system/*.service")):
    with open(unit, encoding="utf-8") as file:
        words = file.read()
    program = re.search(r"^ExecStart=/usr/bin/(\S+)", words, re.M).group(1)
    for option in re.findall(r"^ExecStart=.*", words, re.M)[0].split():
        if option.startswith("--"):
            shown = run(os.path.join(root, "usr/bin", program), "--help").stdout
            check(f"{os.path.basename(unit)}: {program} has {option}", option in shown, shown)
for example in glob.glob(os.path.join(root, "usr/share/doc/rota/examples/*.yaml")) + [os.path.join(root, "etc/rota/rota.yaml")]:
    with open(example, encoding="utf-8") as file:
        roadmap = re.search(r"^(tasks|epics|name):", file.read(), re.M)
    if not roadmap:
        shown = run(os.path.join(root, "usr/bin/rota-broker"), "--check-config", "--config", example)
        check(f"{os.path.basename(example)} is right", shown.returncode == 0, shown)

if shutil.which("systemd-analyze"):
    copied = os.path.join(root, "usr/lib/systemd/system")
    shown = run("systemd-analyze", "verify", "--man=no", f"--root={root}",
                *(os.path.join(copied, name.replace("@.", "@exec.")) if "@" in name else os.path.join(copied, name) for name in units))
    wrong = [line for line in shown.stderr.splitlines() if "rota" in line and "not found" not in line and "Failed to" not in line]
    check("systemd finds no fault in the units", not wrong, shown)
else:
    print("SKIP what systemd says of the units: systemd-analyze is not here", flush=True)

work = os.path.join(place, "work")
os.mkdir(work)
with open(os.path.join(work, "roadmap.yaml"), "w", encoding="utf-8") as file:
    file.write("tasks:\n  - {id: a, run: echo built}\n  - {id: b, run: echo tested, after: a}\n")
shown = run(os.path.join(root, "usr/bin/rota"), "run", cwd=work, stdin=subprocess.DEVNULL)
check("and a roadmap is worked by what is in it", shown.returncode == 0, shown)
shutil.rmtree(place, ignore_errors=True)
finish()
