// The first page as it looks: `node home.mjs <http://host:port>`. No script, nothing from elsewhere, readable on a narrow
// screen and in the dark, and each of its links leads somewhere. SHOTS=<folder> keeps pictures.

import assert from 'node:assert/strict';

import { accessible, launch, pale } from './browser.mjs';

const url = process.argv[2];
const { browser, open } = await launch(url);
for (const colorScheme of ['light', 'dark']) {
  for (const width of [360, 1280]) {
    const { page, shoot, quiet } = await open({ colorScheme, viewport: { width, height: 900 } });
    await page.goto(url);
    await accessible(page);
    assert.deepEqual(await pale(page, 'body'), [], `${colorScheme}, ${width} px`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${wide} px wide on a screen of ${width}`);
    assert.equal(await page.locator('script').count(), 0);
    const links = await page.locator('a[href]').evaluateAll((all) => all.map((link) => link.href));
    assert.ok(links.length >= 5, `${links}`);
    for (const link of links) {
      const response = await fetch(link, { headers: { accept: 'text/html,*/*;q=0.8' } });
      assert.equal(response.status, 200, link);
      await response.text();
    }
    // By keyboard, the first stop is the way to the playground.
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Open the playground');
    await shoot(`home-${colorScheme}-${width}`);
    quiet();
    await page.context().close();
  }
}
await browser.close();
console.log('looked at');
