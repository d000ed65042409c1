// Reads every message below the folder that is given, and writes it again: nothing may be different.

import { Convert } from "../src/messages.js";
import { codecs, type Codec } from "../src/registry.js";

declare const process: { argv: string[]; exitCode: number; getBuiltinModule(name: string): any };
const { readFileSync, globSync } = process.getBuiltinModule("node:fs");
const { isDeepStrictEqual } = process.getBuiltinModule("node:util");

const files: string[] = globSync(`${process.argv[2]}/*/*.json`);
for (const file of files) {
    const text: string = readFileSync(file, "utf8");
    const envelope = Convert.toEnvelope(text);
    const codec = (codecs as Record<string, Codec<unknown> | undefined>)[envelope.type];
    if (codec === undefined) throw new Error(`${file}: no class for ${envelope.type}`);
    const data = JSON.parse(codec.write(codec.read(JSON.stringify(envelope.data))) as string);
    const written = JSON.parse(Convert.envelopeToJson({ ...envelope, data }));
    if (!isDeepStrictEqual(written, JSON.parse(text))) {
        process.exitCode = 1;
        console.error(`${file}: read as something else: ${JSON.stringify(written)}`);
    }
}
// What is wrong must not pass as right.
let refused = false;
try {
    codecs["todo.task.completed.v1"].read('{"task_id": 7}');
} catch {
    refused = true;
}
if (!refused) throw new Error("a number passes as an id");
console.log(`${files.length} messages`);
