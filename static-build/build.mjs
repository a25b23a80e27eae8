// Makes static/vendor: one module of all that vendor.mjs names, and the licences of what is in it.
import { build } from "esbuild";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const vendor = here("../static/vendor");

process.chdir(here("."));
await rm(vendor, { recursive: true, force: true });
await mkdir(vendor, { recursive: true });
const { metafile } = await build({
  entryPoints: ["vendor.mjs"],
  outfile: `${vendor}/editor.js`,
  bundle: true,
  format: "esm",
  legalComments: "none",
  metafile: true,
  minify: true,
  target: "es2022",
});

// The folders of packages that the module has code of.
const [output] = Object.values(metafile.outputs);
const packages = new Set(
  Object.keys(output.inputs)
    .map((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
    .filter(Boolean),
);
const texts = await Promise.all(
  [...packages].sort().map(async (folder) => {
    const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} has no licence file`);
    return `${name} ${version} (${license})\n\n${(await readFile(`${folder}/${file}`, "utf8")).trim()}\n`;
  }),
);
await writeFile(`${vendor}/LICENSES.txt`, texts.join(`\n${"-".repeat(80)}\n\n`));
console.log(`static/vendor/editor.js: ${output.bytes} bytes of ${packages.size} packages`);
