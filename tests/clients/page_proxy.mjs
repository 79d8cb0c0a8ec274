// Proxies with the configurations of the page on proxies, as they stand there: only the names, the ports and the
// certificate are those of the test.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { Daemon, freePort } from "./daemon.mjs";

const PAGE = await readFile(new URL("../../src/docs/proxies.md", import.meta.url), "utf8");

/** The part of the page about one server, and the part about several. */
export const [ONE_SERVER, SEVERAL_SERVERS] = PAGE.split(/^## (?=Several servers)/m);

const MODULES = "/usr/lib/apache2/modules";
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

const folder = await mkdtemp(join(tmpdir(), "maxtalk-page-"));
// Apache and nginx read some files as a user of their own.
await chmod(folder, 0o755);
const file = (name) => join(folder, name);
await promisify(execFile)("openssl", [
  ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
  ...["-addext", "subjectAltName=DNS:localhost", "-keyout", file("site.key"), "-out", file("site.pem")],
]);

/** The certificate of every proxy. */
export const certificate = await readFile(file("site.pem"));
await writeFile(file("site.both.pem"), Buffer.concat([certificate, await readFile(file("site.key"))]));

/** What stands around the part of the page in a whole configuration, and how the program is told of it. */
const PROXIES = {
  nginx: {
    around: (part) => `
      daemon off; master_process off; pid ${file("nginx.pid")}; error_log stderr warn;
      events { worker_connections 1024; }
      http {
        access_log off;
        ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((it) => `${it}_temp_path ${file(it)};`).join("\n")}
        ${part}
      }`,
    args: (path) => ["-e", "stderr", "-p", folder, "-c", path],
  },
  caddyfile: {
    program: "caddy",
    around: (part, port) => `{
      admin off
      auto_https disable_redirects
      http_port ${port + 1}
      https_port ${port}
    }
    ${part}`,
    args: (path) => ["run", "--adapter", "caddyfile", "--config", path],
  },
  haproxy: { around: (part) => `${part}\n`, args: (path) => ["-db", "-f", path] },
  apache: {
    program: "apache2",
    around: (part, port) => `
      ServerRoot ${folder}
      PidFile ${file("apache.pid")}
      ErrorLog ${file("apache.log")}
      ${process.getuid() === 0 ? "User www-data\nGroup www-data" : ""}
      Listen 127.0.0.1:${port}
      ${["mpm_event", "authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http"]
        .map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`)
        .join("\n")}
      ${part}`,
    args: (path) => ["-D", "FOREGROUND", "-f", path],
  },
  lighttpd: {
    around: (part) => `server.modules = ()\nserver.document-root = "${folder}"\nserver.bind = "127.0.0.1"\n${part}`,
    before: (port) => `server.port = ${port}\n`,
    args: (path) => ["-D", "-f", path],
  },
};

/** The languages of the configurations, which are the names of the blocks in the page. */
export const LANGUAGES = Object.keys(PROXIES);

/** One proxy, which takes TLS at its `url`. */
export class PageProxy extends Daemon {
  /**
   * Starts the proxy whose configuration is the block in this language of this part of the page. `places` has what
   * the test puts in for each place of a server in the block.
   */
  static async start(language, part, places, change = (text) => text) {
    const { program = language, around, before = () => "", args } = PROXIES[language];
    const blocks = [...part.matchAll(new RegExp("```" + language + "\\n([^]*?)```", "g"))];
    assert.equal(blocks.length, 1, `one block of ${language} in this part of the page`);
    const [port, plain] = [await freePort(), await freePort()];
    let text = change(blocks[0][1])
      .replaceAll("/etc/ssl/chat.example.org", file("site"))
      .replaceAll(/chat\.example\.org(?= \{)/g, `localhost:${port}`)
      .replaceAll("chat.example.org", "localhost")
      .replaceAll(/(?<![0-9])443(?![0-9])/g, port);
    for (const [place, instead] of Object.entries(places)) {
      assert.ok(text.includes(place), `${place} is in the block of ${language}`);
      text = text.replaceAll(place, instead);
    }
    const path = file(`${program}-${port}.conf`);
    await writeFile(path, before(plain) + around(text, port));
    const proxy = new PageProxy(port);
    proxy.url = `https://localhost:${port}`;
    await proxy.run(program, args(path), { ...env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder });
    return proxy;
  }
}

/** Removes the files of all proxies: for the last line of a suite. */
export const removeFiles = () => rm(folder, { recursive: true });
