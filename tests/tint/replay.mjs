// Compiles shaders with Tint and runs traces in Dawn: the compiler and the WebGPU of Chrome, as Node's package `webgpu`.
//
// tests/tint/dawn.rs starts this, with the folder of the package in WATTN_TINT. It says which adapter it took; then it takes jobs, one line
// of JSON each, and answers each with a line. tests/tint/job.rs says what a job is. Dawn writes to the same output, so whatever
// line is no answer is a message of Dawn's.

import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

const { create, globals } = await import(pathToFileURL(path.join(process.env.WATTN_TINT, 'node_modules/webgpu/index.js')));
Object.assign(globalThis, globals);

/** Between the params of two dispatches, as in src/gpu/recorder.rs. */
const SLOT = 256;

const answer = (value) => fs.writeSync(1, `\n${JSON.stringify(value)}\n`);

const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (!adapter) {
  answer({ driver: null, features: [] });
  process.exit(1);
}
answer({ driver: adapter.info.description, features: [...adapter.features] });

/** What went wrong outside every error scope. */
const stray = [];

async function open({ features, limits }) {
  const requiredLimits = {};
  if (limits === 'adapter') for (const name in adapter.limits) requiredLimits[name] = adapter.limits[name];
  // An adapter is good for one device.
  const device = await (await gpu.requestAdapter()).requestDevice({ requiredFeatures: features, requiredLimits });
  device.addEventListener('uncapturederror', (event) => stray.push(event.error.message));
  device.lost.then(({ reason, message }) => reason === 'destroyed' || stray.push(`the device was lost: ${message}`));
  return { device, pipelines: new Map() };
}

/** A message with its line and a caret. */
function show(message, text) {
  const line = text.split('\n')[message.lineNum - 1] ?? '';
  return `${message.type}, line ${message.lineNum}: ${message.message}\n${line}\n${' '.repeat(Math.max(message.linePos - 1, 0))}^`;
}

/** A shader's pipeline and its layout, and every message of the compiler's about it. */
async function compile(device, { name, text, layout: entries }) {
  const module = device.createShaderModule({ label: name, code: text });
  const layout = device.createBindGroupLayout({ label: name, entries });
  const { messages } = await module.getCompilationInfo();
  const complaints = messages.map((message) => show(message, text));
  if (messages.some((message) => message.type === 'error')) return { complaints };
  try {
    const compute = { module, entryPoint: 'main' };
    const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
    return { complaints, layout, pipeline: await device.createComputePipelineAsync({ label: name, layout: pipelineLayout, compute }) };
  } catch (error) {
    return { complaints: [...complaints, error.message] };
  }
}

/** Takes the steps and writes what the outputs hold to a file, one after the other. */
async function replay(device, job, pipelines) {
  const data = fs.readFileSync(job.data);
  // A buffer holds anything at first. These bits are NaN as floats, so that nobody can use them unnoticed.
  const buffers = job.buffers.map((size) => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
    new Uint8Array(buffer.getMappedRange()).fill(0xff);
    buffer.unmap();
    return buffer;
  });
  const dispatches = job.steps.filter((step) => 'run' in step);
  const uniforms = device.createBuffer({ size: SLOT * (dispatches.length || 1), usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  dispatches.forEach((step, slot) => device.queue.writeBuffer(uniforms, SLOT * slot, data, step.at, step.bytes));

  let encoder, pass;
  const submit = () => {
    pass?.end();
    if (encoder) device.queue.submit([encoder.finish()]);
    encoder = pass = undefined;
  };
  let slot = 0;
  for (const step of job.steps) {
    if ('write' in step) {
      submit();
      device.queue.writeBuffer(buffers[step.write], step.offset, data, step.at, step.bytes);
      continue;
    }
    const { pipeline, layout } = pipelines[step.run];
    const entry = ([binding, buffer, offset, size]) => ({ binding, resource: { buffer: buffers[buffer], offset, size } });
    const entries = [{ binding: 0, resource: { buffer: uniforms, offset: SLOT * slot, size: step.bytes } }, ...step.binds.map(entry)];
    encoder ??= device.createCommandEncoder();
    pass ??= encoder.beginComputePass();
    pass.pushDebugGroup(job.shaders[step.run].name);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ label: job.shaders[step.run].name, layout, entries }));
    pass.dispatchWorkgroups(...step.groups);
    pass.popDebugGroup();
    slot += 1;
  }
  submit();

  const words = (bytes) => Math.ceil(bytes / 4) * 4;
  const staging = job.outputs.map(({ buffer, offset, bytes }) => {
    const copy = device.createBuffer({ size: words(bytes), usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    encoder ??= device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffers[buffer], offset, copy, 0, words(bytes));
    return copy;
  });
  submit();
  await Promise.all(staging.map((copy) => copy.mapAsync(GPUMapMode.READ)));
  const results = staging.map((copy, i) => Buffer.from(copy.getMappedRange(), 0, job.outputs[i].bytes));
  fs.writeFileSync(job.results, Buffer.concat(results));
  [...buffers, ...staging, uniforms].forEach((buffer) => buffer.destroy());
}

/** Runs something and returns every error of the device meanwhile. */
async function scoped(device, run) {
  const scopes = ['internal', 'out-of-memory', 'validation'];
  scopes.forEach((filter) => device.pushErrorScope(filter));
  const result = await run();
  const errors = [];
  for (const _ of scopes) errors.push((await device.popErrorScope())?.message);
  return { result, errors: [...errors.filter(Boolean), ...stray.splice(0)] };
}

/** Compiles a job's shaders, those that were not compiled before. Returns them and what is wrong with them. */
async function compileAll({ device, pipelines }, job) {
  const one = (shader) => {
    const key = JSON.stringify([shader.text, shader.layout]);
    if (!pipelines.has(key)) pipelines.set(key, compile(device, shader));
    return pipelines.get(key);
  };
  const { result, errors } = await scoped(device, () => Promise.all(job.shaders.map(one)));
  const complaints = result.flatMap(({ complaints }, i) => complaints.map((complaint) => `${job.shaders[i].name}:\n${complaint}`));
  // The device repeats what the compiler says, without the name.
  return { compiled: result, wrong: complaints.length ? complaints : errors };
}

/** The device that traces run on, once there is one: a process has traces of one kind. */
let shared;

/** Does a job and returns what is wrong with it. */
async function work(job) {
  if (!job.steps) {
    // With a device of its own, since pipelines take memory for as long as theirs lives.
    const own = await open(job);
    const { wrong } = await compileAll(own, job);
    own.device.destroy();
    return wrong;
  }
  shared ??= await open(job);
  const { compiled, wrong } = await compileAll(shared, job);
  return wrong.length ? wrong : (await scoped(shared.device, () => replay(shared.device, job, compiled))).errors;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  answer({ wrong: await work(JSON.parse(line)).catch((error) => [error.stack]) });
}
// Dawn's threads would keep the process alive.
process.exit(0);
