// axe-core in a page: what it finds wrong for people who see little, use the keyboard alone, or hear the page read out.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const source = await readFile(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Fails if axe finds anything in the page, of Playwright or Puppeteer, as it is now. */
export async function noViolations(page, view) {
  await page.evaluate(source);
  const found = await page.evaluate(async (tags) => {
    const { violations, passes } = await globalThis.axe.run({ runOnly: tags });
    const nodes = ({ nodes }) => nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`);
    return { passes: passes.length, violations: violations.map((one) => [one.id, ...nodes(one)].join("\n  ")) };
  }, TAGS);
  assert.ok(found.passes > 10, `axe looked at hardly anything of ${view}`);
  assert.deepEqual(found.violations, [], `${view}:\n${found.violations.join("\n")}`);
}
