// Reads a timeline with the importer of chrome://tracing and says what it has found (see tests/viewers).
// usage: node viewers.js FOLDER_OF_TRACEVIEWER TRACE
'use strict';
const fs = require('fs');
const path = require('path');

const [folder, trace] = process.argv.slice(2);
require(path.join(folder, 'catapult_build', 'node_bootstrap.js'));
const loader = global.HTMLImportsLoader;
const third = path.join(folder, 'tracing', 'third_party');
loader.addArrayToSourcePath([
  path.join(folder, 'tracing'), path.join(third, 'jszip'), path.join(third, 'gl-matrix', 'dist'), path.join(third, 'd3'),
]);
for (const part of ['importer/import.html', 'model/model.html', 'extras/importer/trace_event_importer.html']) {
  loader.loadHTML('/tracing/' + part);
}
const tr = global.tr;
const options = new tr.importer.ImportOptions();
options.shiftWorldToZero = false;
const model = new tr.Model();
new tr.importer.Import(model, options).importTraces([fs.readFileSync(trace, 'utf8')]);
const processes = Object.values(model.processes);
console.log(JSON.stringify({
  warnings: model.importWarnings,
  processes: processes.map((p) => [p.pid, p.name]),
  threads: processes.flatMap((p) => Object.values(p.threads).map((t) => [p.pid, t.tid, t.name, t.sliceGroup.length])),
  flows: model.flowEvents.length,
}));
