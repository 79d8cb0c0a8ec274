// Real proxies as child processes, each with a configuration of tests/clients/proxies whose ports and folder are filled
// in. They run as whoever runs the tests, in the foreground, with all of their files in a folder of their own.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Daemon, freePort } from "./daemon.mjs";

/** Debian keeps proxies where an ordinary user does not look for programs. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** How each program is told its configuration. */
const PROGRAMS = {
  nginx: { template: "nginx.conf", args: (file, folder) => ["-e", "stderr", "-p", folder, "-c", file] },
  lighttpd: { template: "lighttpd.conf", args: (file) => ["-D", "-f", file] },
  haproxy: { template: "haproxy.cfg", args: (file) => ["-db", "-f", file] },
};

/** One proxy, which listens on `ports.PORT`, and on others where its template names them. */
export class Proxy extends Daemon {
  /** Starts a proxy in front of what listens on the `ports` that are given; names without a number get a free one. */
  static async start(program, given, ...names) {
    const { template, args } = PROGRAMS[program];
    const ports = { ...given };
    for (const name of ["PORT", ...names]) ports[name] = await freePort();
    const folder = await mkdtemp(join(tmpdir(), "maxtalk-proxy-"));
    const proxy = new Proxy(ports.PORT);
    Object.assign(proxy, { ports, folder });
    const text = await readFile(new URL(`proxies/${template}`, import.meta.url), "utf8");
    const values = { FOLDER: folder, ...ports };
    const file = join(folder, template);
    await writeFile(file, text.replace(/@([A-Z]+)@/g, (_, name) => values[name]));
    await proxy.run(program, args(file, folder), env);
    return proxy;
  }

  /** The URL of one of its ports. */
  at(name) {
    return `http://127.0.0.1:${this.ports[name]}`;
  }

  /** How often it has answered with which status, as it has written into this log. */
  async answers(log) {
    const counts = {};
    for (const line of (await readFile(join(this.folder, log), "utf8")).split("\n").filter(Boolean)) {
      const status = line.split(" ")[0];
      counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts;
  }

  async stop() {
    await this.end();
    await rm(this.folder, { recursive: true });
  }
}
