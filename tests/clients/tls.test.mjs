// The configurations of the page on proxies, as they stand there: started with a certificate of the test, each in front
// of a real server, with clients that come by TLS.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, describe, it } from "node:test";
import { promisify } from "node:util";

import { closeAll, enter, fresh, usual, way } from "./client.mjs";
import { Daemon, freePort } from "./daemon.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";

const PAGE = await readFile(new URL("../../src/docs/proxies.md", import.meta.url), "utf8");
const MODULES = "/usr/lib/apache2/modules";
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

const folder = await mkdtemp(join(tmpdir(), "maxtalk-tls-"));
// Apache and nginx read some files as a user of their own.
await chmod(folder, 0o755);
const file = (name) => join(folder, name);
await promisify(execFile)("openssl", [
  ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
  ...["-addext", "subjectAltName=DNS:localhost", "-keyout", file("site.key"), "-out", file("site.pem")],
]);
const [certificate, key] = [await readFile(file("site.pem")), await readFile(file("site.key"))];
await writeFile(file("site.both.pem"), Buffer.concat([certificate, key]));

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

const max = await startMax();
const server = await Maxtalk.start(max.url, { SERVER__TRUSTED_PROXIES: "127.0.0.1" });
afterEach(closeAll);
after(async () => {
  await server.stop();
  await max.stop();
  await rm(folder, { recursive: true });
});

for (const [language, { program = language, around, before = () => "", args }] of Object.entries(PROXIES)) {
  describe(`the configuration of ${program}`, { timeout: 120_000 }, () => {
    it("lets clients of every transport through TLS", async () => {
      const [port, plain] = [await freePort(), await freePort()];
      const parts = [...PAGE.matchAll(new RegExp("```" + language + "\\n([^]*?)```", "g"))];
      assert.equal(parts.length, 1, "one block of the page");
      const part = parts[0][1]
        .replaceAll("/etc/ssl/chat.example.org", file("site"))
        .replaceAll(/chat\.example\.org(?= \{)/g, `localhost:${port}`)
        .replaceAll("chat.example.org", "localhost")
        .replaceAll(/(?<![0-9])443(?![0-9])/g, port)
        .replaceAll("6545", server.port);
      const path = file(`${program}.conf`);
      await writeFile(path, before(plain) + around(part, port));
      const proxy = new Daemon(port);
      await proxy.run(program, args(path), { ...env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder });
      try {
        const url = `https://localhost:${port}`;
        for (const transport of ["websocket", "polling", "upgrade"]) {
          const [red] = fresh("red");
          const options = { tls: { ca: certificate } };
          const person = await enter(way("socket.io-client 4", transport), url, `ada.${red}`, options);
          await person.upgraded();
          const neighbour = await enter(usual, server.url, `ben.${red}`);
          assert.deepEqual(await person.acked("talk", { conversation: red, messageID: 1 }), { ok: true });
          assert.deepEqual(await neighbour.acked("talk", { conversation: red, messageID: 2 }), { ok: true });
          assert.equal((await neighbour.next("update")).messageID, 1);
          assert.equal((await person.next("update")).messageID, 2);
          assert.equal(person.transport, transport === "polling" ? "polling" : "websocket");
        }
      } catch (error) {
        throw new Error(`${error.message}\n${proxy.log}`, { cause: error });
      } finally {
        await closeAll();
        await proxy.end();
      }
    });
  });
}
