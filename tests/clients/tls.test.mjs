// The configurations of the page on proxies, as they stand there: started with a certificate of the test, each in front
// of a real server, with clients that come by TLS.

import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";

import { closeAll, enter, fresh, usual, way } from "./client.mjs";
import { startMax } from "./max.mjs";
import { Maxtalk } from "./maxtalk.mjs";
import { LANGUAGES, ONE_SERVER, PageProxy, certificate, removeFiles } from "./page_proxy.mjs";

const max = await startMax();
const server = await Maxtalk.start(max.url, { SERVER__TRUSTED_PROXIES: "127.0.0.1" });
afterEach(closeAll);
after(async () => {
  await server.stop();
  await max.stop();
  await removeFiles();
});

for (const language of LANGUAGES) {
  describe(`the configuration in the language ${language}`, { timeout: 600_000 }, () => {
    it("lets clients of every transport through TLS", async () => {
      const proxy = await PageProxy.start(language, ONE_SERVER, { 6545: server.port });
      try {
        for (const transport of ["websocket", "polling", "upgrade"]) {
          const [red] = fresh("red");
          const options = { tls: { ca: certificate } };
          const person = await enter(way("socket.io-client 4", transport), proxy.url, `ada.${red}`, options);
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
