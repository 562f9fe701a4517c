// Debian's Chromium, with every host but the server's blocked, for pages of ours.
//
// `open` gives a page and what went wrong on it so far: requests and sockets to other hosts, violations of the policy,
// errors in the console. A test ends with `quiet`, which finds nothing of the kind.

import assert from 'node:assert/strict';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

import { chromium } from 'playwright-core';

// The exit code for what a browser did not do at all or not in time: an end of its own, a timeout. A wrong thing that it
// showed is a failed assertion, and ends with 1.
const NOT_DONE = 75;

const FLAGS = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];

function executable() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const folders = (process.env.PATH ?? '').split(delimiter);
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  assert.ok(found, 'no Chromium here: run `make prepare-tests`');
  return found;
}

export async function launch(url) {
  const { host } = new URL(url);
  process.on('uncaughtException', (error) => {
    console.error(error);
    process.exit(error instanceof assert.AssertionError ? 1 : NOT_DONE);
  });
  const browser = await chromium.launch({ executablePath: executable(), args: FLAGS });
  const open = async (options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
    context.setDefaultTimeout(60_000);
    const wrong = [];
    // Whatever a test fails of, this may be why.
    process.on('uncaughtExceptionMonitor', () => wrong.forEach((what) => console.error(what)));
    const own = (address) => new URL(address).host === host || /^(data|blob):/.test(address);
    await context.route('**/*', (route) => {
      const address = route.request().url();
      if (own(address)) return route.continue();
      wrong.push(`a request to ${address}`);
      return route.abort();
    });
    await context.exposeBinding('violated', (_, what) => wrong.push(`against the policy: ${what}`));
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        globalThis.violated(`${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    const page = await context.newPage();
    page.on('console', (message) => {
      // Chromium tells of each 401 by itself: a token's end, which the page sees to.
      if (message.text().includes('status of 401')) return;
      if (['error', 'warning'].includes(message.type())) wrong.push(`in the console: ${message.text()}`);
    });
    page.on('pageerror', (error) => wrong.push(`uncaught: ${error.stack ?? error}`));
    page.on('websocket', (socket) => own(socket.url()) || wrong.push(`a socket to ${socket.url()}`));
    const shoot = async (name) => {
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
    };
    return { context, page, wrong, shoot, quiet: () => assert.deepEqual(wrong, []) };
  };
  return { browser, open };
}

// What a screen reader and a keyboard need, as far as a program can tell: a language, a title, a name for everything
// that can be used, no id twice.
export async function accessible(page) {
  const faults = await page.evaluate(() => {
    const found = [];
    if (!document.documentElement.lang) found.push('no language');
    if (!document.title) found.push('no title');
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    ids.forEach((id, at) => ids.indexOf(id) !== at && found.push(`the id ${id} twice`));
    for (const element of document.querySelectorAll('button, a[href], input, select, textarea, [role=button]')) {
      const shown = element.getClientRects().length > 0 && element.closest('[aria-hidden=true]') === null;
      const label = element.getAttribute('aria-labelledby');
      const name =
        element.getAttribute('aria-label') ||
        (label && document.getElementById(label)?.textContent) ||
        element.labels?.[0]?.textContent ||
        element.textContent ||
        element.title;
      if (shown && !name?.trim()) found.push(`no name: ${element.outerHTML.slice(0, 120)}`);
    }
    return found;
  });
  assert.deepEqual(faults, []);
}

// Text that is too pale for its ground (WCAG 2.2, 1.4.3), within an element.
export async function pale(page, selector) {
  return page.evaluate((root) => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], ground) => [r, g, b].map((part, at) => part * a + ground[at] * (1 - a));
    const ground = (element) => {
      const layers = [];
      for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const luminance = (colour) => {
      const [r, g, b] = colour.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faults = new Set();
    const walker = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.textContent.trim() || !element.getClientRects().length || ['STYLE', 'OPTION'].includes(element.tagName)) continue;
      const style = getComputedStyle(element);
      const below = ground(element);
      const [light, dark] = [luminance(over(rgba(style.color), below)), luminance(below)].sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      if (ratio < 4.5) faults.add(`${ratio.toFixed(2)}: ${walker.currentNode.textContent.trim().slice(0, 40)}`);
    }
    return [...faults];
  }, selector);
}
