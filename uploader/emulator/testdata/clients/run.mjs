// run.mjs IKSYNC [OPENAPI]: calls the emulator that `IKSYNC emulator` runs with both of
// ImageKit's SDKs for Node, every method that iksync or a CMS beside it uses, and
// checks every answer against the OpenAPI document. Without the document it only
// calls.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import Client, { toFile } from '@imagekit/nodejs';
import { record, Specification } from './recorder.mjs';

const require = createRequire(import.meta.url);
const privateKey = 'private_clients';
const [program, document] = process.argv.slice(2);
assert.ok(program, 'usage: node run.mjs IKSYNC [OPENAPI]');

const dir = mkdtempSync(join(tmpdir(), 'emulator-clients-'));
const emulator = spawn(program, ['emulator', '--addr', '127.0.0.1:0', '--dir', dir, '--job-duration', '100ms'], { stdio: ['ignore', 'pipe', 'inherit'] });
const ended = new Promise((done) => emulator.on('exit', done));
const calls = [];
let proxy;
let failed = false;
try {
  const address = await listening();
  proxy = await record(address, calls);
  const through = `http://127.0.0.1:${proxy.address().port}`;
  await withNodeSDK7(through, `${address}/demo`);
  await withNodeSDK6(through, `${address}/demo`);
  await asABrowser(through);
  check();
} catch (error) {
  failed = true;
  console.error(error);
  console.error('the last calls:', calls.slice(-3));
} finally {
  proxy?.closeAllConnections();
  proxy?.close();
  emulator.kill();
  await ended;
  rmSync(dir, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

// listening waits for the emulator and gives its address.
function listening() {
  return new Promise((found, fail) => {
    let said = '';
    emulator.stdout.on('data', (text) => {
      said += text;
      const match = said.match(/IKSYNC_API_URL=(.*)\/v1/);
      if (match) found(match[1]);
    });
    emulator.on('error', fail);
    emulator.on('exit', (status) => fail(new Error(`the emulator has ended with ${status}`)));
  });
}

// check validates what was answered.
function check() {
  assert.ok(calls.every((call) => /^[0-9a-f-]{36}$/.test(call.headers['x-ik-requestid'])), 'an answer has no x-ik-requestId');
  if (!document || !existsSync(document)) {
    console.log(`${calls.length} calls; nothing was validated: the OpenAPI document is not at ${document ?? '(no path was given)'}`);
    return;
  }
  const specification = new Specification(document);
  const wrong = calls.flatMap((call) => specification.problems(call).map((text) => `${call.method} ${call.url} ${call.status}: ${text}\n  ${call.body}`));
  assert.deepEqual(wrong, []);
  assert.deepEqual(specification.unmet(), [], 'operations without a call');
  console.log(`${calls.length} answers validated, of ${specification.met.size} operations`);
}

// eventually repeats look until it gives something: listings lag, jobs take their time.
async function eventually(look) {
  for (const end = Date.now() + 20_000; ; await new Promise((next) => setTimeout(next, 50))) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `it never happens: ${look}`);
  }
}

// refused makes a call that has to fail with a status.
async function refused(status, call) {
  const error = await call.then(() => null, (error) => error);
  assert.equal(error?.status ?? error?.$ResponseMetadata?.statusCode, status, `${error?.message}`);
  return error;
}

// png gives a picture of one colour.
function png(width, height) {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const out = Buffer.alloc(8 + body.length);
    out.writeUInt32BE(data.length);
    body.copy(out, 4);
    out.writeUInt32BE(crc(body), out.length - 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head[8] = 8;
  const rows = Buffer.alloc((width + 1) * height, 0);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

function crc(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (0xedb88320 & -(sum & 1));
  }
  return ~sum >>> 0;
}

// everyParameter is an upload with all that the API takes.
function everyParameter(folder) {
  return {
    fileName: 'a b (1).png',
    folder,
    useUniqueFileName: false,
    tags: ['one', 'two'],
    isPrivateFile: false,
    isPublished: true,
    customCoordinates: '0,0,2,2',
    responseFields: ['tags', 'customCoordinates', 'isPrivateFile', 'embeddedMetadata', 'isPublished', 'customMetadata', 'metadata', 'selectedFieldsSchema'],
    extensions: [{ name: 'google-auto-tagging', minConfidence: 50, maxTags: 5 }, { name: 'remove-bg' }],
    webhookUrl: 'https://hooks.example/done',
    overwriteFile: true,
    overwriteAITags: true,
    overwriteTags: true,
    overwriteCustomMetadata: true,
    transformation: { pre: 'w-100', post: [{ type: 'transformation', value: 'w-50' }] },
    checks: '"file.size" < "1mb"',
    description: 'A description',
  };
}

// signatures fetches what an SDK has signed, and what nobody has.
async function signatures(signed) {
  for (const url of signed) {
    assert.equal((await fetch(url)).status, 200, url);
    assert.equal((await fetch(url.replace(/ik-s=./, (s) => s.slice(0, -1) + (s.endsWith('0') ? '1' : '0')))).status, 401, `tampered: ${url}`);
  }
}

async function withNodeSDK7(base, endpoint) {
  const client = new Client({ privateKey, baseURL: base, maxRetries: 0 });
  const field = await client.customMetadataFields.create({ name: 'seven', label: 'Seven', schema: { type: 'Number', minValue: 1, maxValue: 9 } });
  await client.customMetadataFields.create({ name: 'seven_choice', label: 'Seven choices', schema: { type: 'MultiSelect', selectOptions: ['x', 1, true], defaultValue: ['x'] } });
  await refused(400, client.customMetadataFields.create({ name: 'seven', label: 'Again', schema: { type: 'Text' } }));
  assert.equal((await client.customMetadataFields.list({ includeDeleted: true })).length, 2);
  await client.customMetadataFields.update(field.id, { label: 'Seven!', schema: { minValue: 0 } });

  const picture = png(4, 3);
  const file = await client.files.upload({ file: await toFile(picture, 'x.png'), ...everyParameter('/seven/in'), customMetadata: { seven: 7 } });
  assert.equal(file.filePath, '/seven/in/a b (1).png');
  assert.deepEqual([file.width, file.height, file.tags, file.customMetadata, file.AITags.length], [4, 3, ['one', 'two'], { seven: 7 }, 1]);
  assert.notEqual(file.size, picture.length, 'a pre-transformation changes the size');
  const second = await client.files.upload({ file: await toFile(png(5, 5), 'x.png'), fileName: file.name, folder: '/seven/in', useUniqueFileName: false, overwriteTags: false });
  assert.equal(second.fileId, file.fileId);
  const video = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from('ftypmp42\0\0\0\0mp42isom')]);
  await client.files.upload({ file: await toFile(video, 'v.mp4'), fileName: 'v.mp4', transformation: { pre: 'w-100' } });
  await client.beta.v2.files.upload({ file: await toFile(Buffer.from('text'), 'n.txt'), fileName: 'n.txt', folder: '/seven', useUniqueFileName: false });
  await refused(400, client.files.upload({ file: await toFile(picture, 'x.png'), fileName: file.name, folder: '/seven/in', useUniqueFileName: false, overwriteFile: false }));

  const found = await eventually(async () => (await client.assets.list({ path: '/seven/in', limit: 1 }))[0]);
  assert.equal(found.fileId, file.fileId);
  for (const searchQuery of [`id = "${file.fileId}"`, 'name HAS "A B"', 'tags IN ["one"] AND path : "/seven/"', 'createdBy = "uploader@example.com" AND type = "file" AND "customMetadata.seven" NOT EXISTS AND name : "a b"', 'tags EXISTS AND size < "1mb"']) {
    assert.deepEqual((await client.assets.list({ searchQuery })).map((item) => item.fileId), [file.fileId], searchQuery);
  }
  for (const type of ['file', 'file-version', 'folder', 'all']) {
    assert.ok((await client.assets.list({ type, sort: 'DESC_UPDATED', skip: 0, fileType: 'all' })).length > 0, type);
  }
  await refused(400, client.assets.list({ limit: 2000 }));

  assert.equal((await client.files.get(file.fileId)).width, 5);
  await refused(404, client.files.get('0123456789abcdef01234567'));
  await refused(400, client.files.get('nonsense'));
  const updated = await client.files.update(file.fileId, { tags: ['three'], customCoordinates: '1,1,2,2', customMetadata: { seven: 8 }, description: 'Other', removeAITags: 'all', extensions: [{ name: 'aws-auto-tagging', minConfidence: 10, maxTags: 1 }], webhookUrl: 'https://hooks.example/done' });
  assert.deepEqual([updated.tags, updated.customMetadata.seven, updated.AITags[0].source], [['three'], 8, 'aws-auto-tagging']);
  await client.files.update(file.fileId, { publish: { isPublished: true, includeFileVersions: true } });
  await client.files.update(file.fileId, { tags: null, customCoordinates: null, customMetadata: { seven: null } });
  await refused(400, client.files.update(file.fileId, { customMetadata: { unknown: 1 } }));
  await refused(404, client.files.update('0123456789abcdef01234567', { tags: ['x'] }));

  const versions = await client.files.versions.list(file.fileId);
  assert.equal(versions.length, 2);
  const old = versions[1].versionInfo.id;
  assert.equal((await client.files.versions.get(old, { fileId: file.fileId })).type, 'file-version');
  await client.files.versions.restore(old, { fileId: file.fileId });
  await client.files.versions.delete(versions[0].versionInfo.id, { fileId: file.fileId });
  await refused(400, client.files.versions.delete(old, { fileId: file.fileId }));
  await refused(404, client.files.versions.restore('0123456789abcdef01234567', { fileId: file.fileId }));

  assert.equal((await client.files.metadata.get(file.fileId)).format, 'png');
  assert.equal((await client.files.metadata.getFromURL({ url: second.url })).width, 4);
  await refused(404, client.files.metadata.getFromURL({ url: second.url + 'x' }));
  await refused(400, client.files.metadata.getFromURL({ url: 'https://example.com/a.png' }));

  await client.files.bulk.addTags({ fileIds: [file.fileId], tags: ['bulk'] });
  await client.files.bulk.removeTags({ fileIds: [file.fileId], tags: ['bulk'] });
  await client.files.bulk.removeAITags({ fileIds: [file.fileId], AITags: ['Emulated'] });
  await refused(404, client.files.bulk.addTags({ fileIds: ['0123456789abcdef01234567'], tags: ['bulk'] }));
  await refused(400, client.files.bulk.removeTags({ fileIds: [], tags: ['bulk'] }));

  await client.files.copy({ sourceFilePath: file.filePath, destinationPath: '/seven/copy', includeFileVersions: true });
  await client.files.move({ sourceFilePath: `/seven/copy/${file.name}`, destinationPath: '/seven/moved' });
  const renamed = await client.files.rename({ filePath: `/seven/moved/${file.name}`, newFileName: 'b.png', purgeCache: true });
  assert.ok(renamed.purgeRequestId);
  await client.files.rename({ filePath: '/seven/moved/b.png', newFileName: 'c.png' });
  await refused(400, client.files.rename({ filePath: '/seven/n.txt', newFileName: 'n.txt' }));
  await client.files.copy({ sourceFilePath: '/seven/n.txt', destinationPath: '/seven/moved' });
  await refused(409, client.files.rename({ filePath: '/seven/moved/n.txt', newFileName: 'c.png' }));
  await refused(404, client.files.move({ sourceFilePath: '/none', destinationPath: '/x' }));
  await refused(404, client.files.rename({ filePath: '/none', newFileName: 'x' }));

  await client.folders.create({ folderName: 'sub folder', parentFolderPath: '/seven' });
  await refused(400, client.folders.create({ folderName: '..', parentFolderPath: '/' }));
  const done = (job) => eventually(async () => (await client.folders.job.get(job)).status === 'Completed');
  await done((await client.folders.copy({ sourceFolderPath: '/seven/moved', destinationPath: '/seven/copies', includeVersions: true })).jobId);
  await done((await client.folders.move({ sourceFolderPath: '/seven/copies/moved', destinationPath: '/seven/sub folder' })).jobId);
  const job = (await client.folders.rename({ folderPath: '/seven/sub folder', newFolderName: 'renamed', purgeCache: true })).jobId;
  await refused(423, client.folders.move({ sourceFolderPath: '/seven/renamed', destinationPath: '/elsewhere' }));
  await done(job);
  await refused(404, client.folders.job.get('0123456789abcdef01234567'));
  await refused(404, client.folders.copy({ sourceFolderPath: '/none', destinationPath: '/x' }));
  await refused(409, client.folders.rename({ folderPath: '/seven/renamed', newFolderName: 'in' }));
  await client.folders.delete({ folderPath: '/seven/renamed' });
  await refused(404, client.folders.delete({ folderPath: '/seven/renamed' }));

  const purge = await client.cache.invalidation.create({ url: second.url });
  assert.equal((await client.cache.invalidation.get(purge.requestId)).status, 'Completed');
  await refused(400, client.cache.invalidation.get('nonsense'));
  await refused(400, client.cache.invalidation.create({ url: 'https://example.com/*' }));
  const usage = await client.accounts.usage.get({ startDate: '2026-01-01', endDate: '2026-02-01' });
  assert.ok(usage.mediaLibraryStorageBytes > 0);
  await refused(400, client.accounts.usage.get({ startDate: '2026-02-01', endDate: '2026-01-01' }));

  const secret = await client.files.upload({ file: await toFile(picture, 'x.png'), fileName: 'ü secret.png', folder: '/seven', isPrivateFile: true, useUniqueFileName: false });
  assert.equal((await fetch(secret.url)).status, 401);
  const src = (more) => client.helper.buildSrc({ urlEndpoint: endpoint, src: secret.filePath, signed: true, ...more });
  await signatures([src({}), src({ expiresIn: 600 }), src({ queryParameters: { updatedAt: '1' } }), src({ transformation: [{ width: 10 }] }), src({ transformation: [{ width: 10 }], transformationPosition: 'path', expiresIn: 600 })]);
  const stranger = new Client({ privateKey: 'private_of_somebody_else', baseURL: base });
  assert.equal((await fetch(stranger.helper.buildSrc({ urlEndpoint: endpoint, src: secret.filePath, signed: true }))).status, 401);

  await refused(404, client.files.bulk.delete({ fileIds: [file.fileId, '0123456789abcdef01234567'] }));
  assert.deepEqual((await client.files.bulk.delete({ fileIds: [file.fileId] })).successfullyDeletedFileIds, [file.fileId]);
  await client.files.delete(secret.fileId);
  await refused(404, client.files.delete(secret.fileId));
  await client.customMetadataFields.delete(field.id);
  await refused(404, client.customMetadataFields.delete('0123456789abcdef01234567'));
}

async function withNodeSDK6(base, urlEndpoint) {
  const ImageKit = require('imagekit');
  // This SDK has ImageKit's addresses built in.
  const axios = createRequire(require.resolve('imagekit'))('axios');
  axios.interceptors.request.use((request) => ({ ...request, url: request.url.replace(/^https:\/\/(api|upload)\.imagekit\.io/, base) }));
  const client = new ImageKit({ publicKey: 'public_clients', privateKey, urlEndpoint });

  const field = await client.createCustomMetadataField({ name: 'six', label: 'Six', schema: { type: 'Text', maxLength: 10 } });
  await client.getCustomMetadataFields({ includeDeleted: false });
  await client.updateCustomMetadataField(field.id, { label: 'Six!' });
  const file = await client.upload({ file: png(6, 6), ...everyParameter('six'), customMetadata: { six: 'six' } });
  await client.upload({ file: png(7, 7).toString('base64'), fileName: file.name, folder: 'six', useUniqueFileName: false });
  await client.upload({ file: file.url, fileName: 'by url.png', folder: 'six', useUniqueFileName: false });
  await refused(400, client.upload({ file: 'eA==', fileName: 'x', checks: '"file.size" > "1mb"' }));
  await eventually(async () => (await client.listFiles({ path: 'six', limit: 10, skip: 0, sort: 'ASC_NAME' })).length === 2);
  await client.listFiles({ searchQuery: 'type = "folder" OR name : "a"', fileType: 'all' });
  await client.listFiles({ tags: 'one', type: 'file' });

  await client.getFileDetails(file.fileId);
  await client.updateFileDetails(file.fileId, { tags: ['t'], customMetadata: { six: '6' } });
  await client.updateFileDetails(file.fileId, { publish: { isPublished: true } });
  const versions = await client.getFileVersions(file.fileId);
  const versionId = versions[1].versionInfo.id;
  await client.getFileVersionDetails({ fileId: file.fileId, versionId });
  await client.restoreFileVersion({ fileId: file.fileId, versionId });
  await client.deleteFileVersion({ fileId: file.fileId, versionId: versions[0].versionInfo.id });
  assert.equal((await client.getFileMetadata(file.fileId)).width, 6);
  assert.equal((await client.getFileMetadata(file.url)).width, 6);
  await client.bulkAddTags([file.fileId], ['b']);
  await client.bulkRemoveTags([file.fileId], ['b']);
  await client.bulkRemoveAITags([file.fileId], ['Emulated']);

  await client.copyFile({ sourceFilePath: file.filePath, destinationPath: '/six/copy', includeFileVersions: false });
  await client.moveFile({ sourceFilePath: `/six/copy/${file.name}`, destinationPath: '/six/moved' });
  await client.renameFile({ filePath: `/six/moved/${file.name}`, newFileName: 'm.png', purgeCache: false });
  await client.createFolder({ folderName: 'new', parentFolderPath: '/six' });
  const done = (job) => eventually(async () => (await client.getBulkJobStatus(job)).status === 'Completed');
  await done((await client.copyFolder({ sourceFolderPath: '/six/moved', destinationPath: '/six/new', includeFileVersions: true })).jobId);
  await done((await client.moveFolder({ sourceFolderPath: '/six/new/moved', destinationPath: '/six/other' })).jobId);
  await client.deleteFolder('/six/new');
  const purge = await client.purgeCache(file.url);
  await client.getPurgeCacheStatus(purge.requestId);

  const secret = await client.upload({ file: png(1, 1), fileName: 'secret ü.png', folder: 'six', isPrivateFile: true, useUniqueFileName: false });
  const url = (more) => client.url({ path: secret.filePath, signed: true, ...more });
  await signatures([url({}), url({ expireSeconds: 600 }), url({ transformation: [{ width: '10' }, { rotation: '90' }], expireSeconds: 600 }), client.url({ src: secret.url, signed: true, queryParameters: { v: 1 } })]);
  await client.bulkDeleteFiles([secret.fileId]);
  await client.deleteFile(file.fileId);
  await refused(404, client.getFileDetails(file.fileId));
  await client.deleteCustomMetadataField(field.id);
}

// asABrowser uploads with what a server gives a browser, and uses the paths of /v2.
async function asABrowser(base) {
  const send = (version, fields) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    return fetch(`${base}/api/${version}/files/upload`, { method: 'POST', body: form });
  };
  const client = new Client({ privateKey, baseURL: base });
  const granted = { file: new Blob(['browser']), fileName: 'browser.txt', publicKey: 'public_clients', ...client.helper.getAuthenticationParameters() };
  assert.equal((await send('v1', granted)).status, 200);
  assert.equal((await send('v1', granted)).status, 400, 'a used token');
  const text = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const signed = `${text({ alg: 'HS256', typ: 'JWT' })}.${text({ fileName: 'jwt.txt', iat: now, exp: now + 60 })}`;
  const token = `${signed}.${createHmac('sha256', privateKey).update(signed).digest('base64url')}`;
  const withToken = { file: new Blob(['jwt']), fileName: 'jwt.txt', token };
  assert.equal((await send('v2', withToken)).status, 200);
  assert.equal((await send('v2', withToken)).status, 400, 'a used token');

  const headers = { Authorization: `Basic ${Buffer.from(`${privateKey}:`).toString('base64')}` };
  for (const path of ['/v2/files?type=all', '/v2/files/', '/v1/files/?limit=1', '/v2/customMetadataFields', '/v2/accounts/usage?startDate=2026-01-01&endDate=2026-01-02']) {
    assert.equal((await fetch(base + path, { headers })).status, 200, path);
  }
  for (const path of ['/v1/files', '/v2/files']) assert.equal((await fetch(base + path)).status, 401);
}
