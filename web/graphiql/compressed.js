// Leaves only compressed copies of what was built: the server embeds and sends these, and nothing else. The page itself
// stays as it is, since the server writes the settings into it. It is written last: a folder with a page is whole.

import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const brotli = promisify(brotliCompress);
const zip = promisify(gzip);

// 10 and not 11: a third of the time for one hundredth of the size.
const QUALITY = 10;

export function compressed() {
  let folder;
  return {
    name: 'compressed',
    apply: 'build',
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      const page = join(folder, 'index.html');
      const html = await readFile(page);
      await rm(page);
      for (const name of await readdir(folder)) {
        const path = join(folder, name);
        const bytes = await readFile(path);
        const params = { [constants.BROTLI_PARAM_QUALITY]: QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
        const [br, gz] = await Promise.all([brotli(bytes, { params }), zip(bytes, { level: 9 })]);
        await Promise.all([writeFile(`${path}.br`, br), writeFile(`${path}.gz`, gz), rm(path)]);
      }
      await writeFile(page, html);
    },
  };
}
