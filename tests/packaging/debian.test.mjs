// The Debian package in a bare system of the release that this machine runs: what is in it, and its whole life, from the
// installation to the purge that leaves nothing. mmdebstrap makes the bare system once, and it is kept for later runs.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { PROGRAM, TARGET, TOP, run, runAsRoot, tried, triedIn } from "./support.mjs";

const CONFIG = "/etc/maxtalk/maxtalk.toml";
const UNIT = "/usr/lib/systemd/system/maxtalk.service";
const WANTED = "/etc/systemd/system/multi-user.target.wants/maxtalk.service";

/** Makes a package of the program. Returns its path. */
function pack(folder, ...options) {
  const path = run([`${TOP}.packaging/deb`, "--program", PROGRAM, "--fast", "--output", folder, ...options]).trim();
  assert.ok(existsSync(path), path);
  return path;
}

/** A bare system as a tar file, which is made if it has not been made before. */
function bareSystem() {
  const [, release] = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync("/etc/os-release", "utf8"));
  const [folder, path] = [join(TARGET, "packaging-systems"), join(TARGET, "packaging-systems", `${release}.tar`)];
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    runAsRoot(["mmdebstrap", "--quiet", "--variant=essential", release, `${path}.new.tar`]);
    renameSync(`${path}.new.tar`, path);
  }
  return path;
}

// Before the tests, because a slow mirror shall not decide them.
const system = bareSystem();
const work = mkdtempSync(join(tmpdir(), "maxtalk-debian-"));
const root = join(work, "root");
after(() => runAsRoot(["rm", "-rf", "--one-file-system", work]));

const inside = (...command) => triedIn(root, command, { env: { DEBIAN_FRONTEND: "noninteractive" } });
function runInside(...command) {
  const { code, stdout, stderr } = inside(...command);
  assert.equal(code, 0, `${command.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}
const has = (path) => inside("test", "-e", path).code === 0;

/** All files of the system but the records of dpkg and the caches of its tools. */
function files() {
  const own = ["/var/lib/dpkg", "/var/log", "/var/cache", "/packages", "/proc", "/dev"];
  const skip = own.flatMap((path) => ["-path", path, "-prune", "-o"]);
  return runInside("find", "/", ...skip, "-printf", "%M %u:%g %p\n").split("\n").sort();
}

describe("the Debian package", { timeout: 600_000 }, () => {
  const packages = join(work, "packages");
  mkdirSync(packages);
  const first = pack(packages);
  const second = pack(packages, "--deb-version", "99.0.0-1");

  it("has the program, the unit, the configuration, the manual and the completions, all of root", () => {
    const listed = run(["dpkg-deb", "--contents", first]).split("\n");
    const found = Object.fromEntries(
      listed.map((line) => line.split(/\s+/)).filter(([mode]) => mode.startsWith("-"))
        .map(([mode, owner, , , , path]) => [path.slice(1), `${mode} ${owner}`]),
    );
    const data = "-rw-r--r-- 0/0";
    const expected = {
      "/usr/bin/maxtalk": "-rwxr-xr-x 0/0",
      [CONFIG]: "-rw------- 0/0",
      [UNIT]: data,
      "/usr/share/man/man1/maxtalk.1.gz": data,
      "/usr/share/man/man1/maxtalk-bench.1.gz": data,
      "/usr/share/bash-completion/completions/maxtalk": data,
      "/usr/share/zsh/vendor-completions/_maxtalk": data,
      "/usr/share/fish/vendor_completions.d/maxtalk.fish": data,
      "/usr/share/doc/maxtalk/copyright": data,
    };
    for (const [path, mode] of Object.entries(expected)) assert.equal(found[path], mode, `${path}\n${listed.join("\n")}`);
    const other = Object.keys(found).filter((path) => !(path in expected) && !/\/man1\/maxtalk-\w+\.1\.gz$/.test(path));
    assert.deepEqual(other, []);
    assert.match(run(["dpkg-deb", "--field", first, "Depends"]), /^(libc6 \(>= .+)?\n$/);
  });

  it("lives in a bare system, and leaves nothing there", (test) => {
    mkdirSync(root);
    runAsRoot(["tar", "--extract", "--file", system, "--directory", root]);
    runAsRoot(["cp", "-r", packages, join(root, "packages")]);
    const before = files();

    runInside("dpkg", "--install", `/packages/${first.split("/").pop()}`);
    assert.match(runInside("maxtalk", "--version"), /^maxtalk \d/);
    assert.equal(runInside("readlink", "-f", WANTED).trim(), UNIT);
    assert.equal(runInside("stat", "--format", "%a %U:%G", CONFIG).trim(), "600 root:root");
    test.diagnostic(verify());

    // The configuration of the package changes nothing, and has every setting.
    const settings = /^#?[a-z_]+ = .*$/gm;
    const [written, told] = [runInside("cat", CONFIG), runInside("maxtalk", "config")];
    assert.deepEqual(written.match(settings).map((line) => line.replace(/^#/, "")), told.match(settings).map((line) => line.replace(/^#/, "")));
    assert.ok(written.match(settings).every((line) => line.startsWith("#")));
    const checked = (...options) => runInside("maxtalk", "check", "--offline", ...options);
    assert.equal(checked("--config", CONFIG).replace(` (file ${CONFIG})`, ""), checked());

    // An upgrade keeps what its owner has changed.
    runInside("sed", "-i", 's/^#workers = .*/workers = 3/', CONFIG);
    assert.match(checked("--config", CONFIG), /server\.workers = 3/);
    runInside("dpkg", "--install", `/packages/${second.split("/").pop()}`);
    assert.equal(runInside("dpkg-query", "--showformat", "${Version} ${Status}", "--show", "maxtalk"), "99.0.0-1 install ok installed");
    assert.match(runInside("cat", CONFIG), /^workers = 3$/m);

    runInside("dpkg", "--remove", "maxtalk");
    assert.deepEqual([has("/usr/bin/maxtalk"), has(UNIT), has(CONFIG)], [false, false, true]);
    runInside("dpkg", "--purge", "maxtalk");
    assert.deepEqual(files(), before);
  });
});

/** Has systemd read the unit in the bare system, if this machine has what it takes. Returns what was found. */
function verify() {
  if (tried(["sh", "-c", "command -v systemd-analyze"]).code !== 0) return "no systemd-analyze: the unit was not read";
  // The bare system has none of the units that this one waits for.
  const system = join(work, "with-systemd");
  run(["mkdir", "-p", `${system}/usr/lib/systemd`, `${system}/usr/bin`]);
  run(["cp", "-r", "/usr/lib/systemd/system", `${system}/usr/lib/systemd`]);
  for (const path of [UNIT, "/usr/bin/maxtalk"]) run(["cp", root + path, system + path]);
  const read = ["systemd-analyze", `--root=${system}`, "--man=no"];
  const { code, stdout, stderr } = tried([...read, "verify", "maxtalk.service"]);
  assert.deepEqual([code, stdout + stderr], [0, ""]);
  const security = run([...read, "security", "--offline=true", "maxtalk.service"]);
  const [exposure, level] = /exposure level[^:]*: ([\d.]+) (\w+)/.exec(security).slice(1);
  assert.ok(Number(exposure) < 2, security);
  return `exposure by systemd-analyze security: ${exposure} ${level}`;
}
