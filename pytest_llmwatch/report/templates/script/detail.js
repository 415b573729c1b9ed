// One call in full: facts, scores with their reasons, and its texts with the evidence marked.
// The texts stand after the script, so that the table need not wait for them.
const chunks = new Map();
const whole = new Promise((done) => {
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', done);
  else done();
});
function bodyOf(calls, row) {
  const place = calls.data.bodies[row];
  if (!place) return Promise.resolve(null);
  if (!chunks.has(place[0])) chunks.set(place[0], whole.then(() => inflate('bodies-' + place[0]).json()));
  return chunks.get(place[0]).then((chunk) => chunk[place[1]]);
}

function texts(text, evidence) {
  const long = text.p.reduce((sum, piece) => sum + piece[0].length, 0) > 900;  // long ones scroll
  const node = make('div', long ? { class: 'text', tabindex: '0', role: 'group', 'aria-label': 'Text' } : { class: 'text' });
  if (text.b) node.append(make('span', { class: 'cut' }, number(text.b) + ' characters before this'));
  for (const [piece, marks] of text.p) {
    if (!marks) { show(node, piece); continue; }
    const first = evidence[marks[0]];
    const mark = show(make('mark', { class: first.class, title: (first.score + ': ' + first.kind).replace(CONTROL, '?') }), piece);
    mark.append(make('sup', {}, marks.map((i) => i + 1).join(' ')));
    node.append(mark);
  }
  if (text.a) node.append(make('span', { class: 'cut' }, number(text.a) + ' characters after this are not shown; calls.jsonl.gz has them'));
  return node;
}

function meter(share) {
  const host = make('span', { class: 'meter', 'aria-hidden': 'true' });
  if (share === null) return host;
  const [svg, bar] = ['svg', 'rect'].map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag));
  bar.setAttribute('width', share + '%');
  svg.append(bar);
  host.append(svg);
  return host;
}

function scoreList(body) {
  const list = make('ul', { class: 'scores' });
  for (const score of body.scores) {
    const why = make('span', { class: 'why' });
    if (score.below) why.append(make('b', {}, '✗ under ' + score.limit + ': '));
    show(why, score.why);
    body.evidence.forEach((item, i) => {
      if (item.score !== score.name) return;
      const line = make('span', { class: 'ev' }, make('sup', {}, String(i + 1)), ' ');
      show(line, item.kind + ': ');
      line.append(show(make('q', {}), item.text));
      if (item.note) show(line, ' (' + item.note + ')');
      why.append(line);
    });
    const value = make('span', { class: 'num' }, score.value === null ? make('i', {}, score.label) : score.value);
    list.append(make('li', { class: score.below ? 'below' : null }, show(make('span', { class: 'name' }), score.name), meter(score.bar), value, why));
  }
  return list;
}

function factList(calls, row) {
  const hits = calls.cached.at(row), cached = hits ? ' (' + number(hits) + ' cached)' : '';
  const pairs = [['latency', seconds(calls.seconds('latency', row))], ['first token', seconds(calls.seconds('ttft', row))],
    ['tokens in', number(calls.input.at(row)) + cached], ['tokens out', number(calls.output.at(row))], ['cost', dollars(calls.dollars(row))]];
  return make('dl', { class: 'facts' }, ...pairs.map(([k, v]) => make('div', {}, make('dt', {}, k), make('dd', {}, v))));
}

function known(calls, row, extra) {
  const start = calls.start[row];
  const pairs = [['call', calls.id(row)], ['test', calls.node(row)], ['status', words(calls.text('status', row))],
    ['test outcome', words(calls.text('outcome', row))], ['model', calls.text('model', row)], ['error type', calls.text('error', row)],
    ['feature', calls.text('feature', row)], ['team', calls.text('team', row)], ['prompt version', calls.text('prompt', row)],
    ['captured', calls.text('mode', row)], ['retries', calls.retries.at(row) || ''],
    ['started', unknown(start) ? '' : new Date(calls.data.start + start).toISOString()], ...extra];
  const table = make('tbody', {});
  for (const [key, value] of pairs) {
    if (value !== '') table.append(make('tr', {}, make('th', { scope: 'row' }, key), show(make('td', {}), value)));
  }
  return make('table', { class: 'kv' }, table);
}

// The steps of the call's trace under each other; this call stands out.
function waterfall(trace, id) {
  const list = make('ol', { class: 'waterfall' });
  for (const [name, kind, depth, x, width, time, failed, call, note] of trace.steps) {
    const step = make('span', { class: 'step d' + depth });
    step.append(show(call && call !== id ? make('a', { href: '#c-' + encodeURIComponent(call) }) : make('span', {}), name));
    if (note) step.append(' ', show(make('small', {}), note));
    if (failed) step.append(' ', show(make('small', { class: 'low' }), '✗ ' + failed));
    const [svg, bar] = ['svg', 'rect'].map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag));
    for (const [key, value] of [['x', x + '%'], ['width', width + '%'], ['y', 3], ['height', 10], ['rx', 2]]) bar.setAttribute(key, value);
    for (const [key, value] of [['width', '100%'], ['height', 16], ['aria-hidden', 'true']]) svg.setAttribute(key, value);
    svg.append(bar);
    list.append(make('li', { class: (call ? 'call' : '') + (failed ? ' bad' : '') + (call === id ? ' own' : '') }, step, svg, make('span', { class: 'num' }, time)));
  }
  return list;
}

class Detail {
  constructor(calls, step, close) {
    Object.assign(this, { calls, close, host: by('detail'), row: -1, back: null });
    const button = (text, label, act) => {
      const node = make('button', { type: 'button', class: 'quiet', 'aria-label': label }, text);
      node.addEventListener('click', act);
      return node;
    };
    this.bar = make('div', { class: 'bar' }, button('↑', 'Previous call', () => step(-1)), button('↓', 'Next call', () => step(1)), button('Close', 'Close', close));
  }
  async show(row) {
    const { calls, host } = this;
    if (this.row < 0) this.back = document.activeElement;
    this.row = row;
    const title = show(make('h2', { id: 'detail-title', tabindex: '-1' }), calls.name(row)), again = calls.again(row);
    if (again) title.append(' ', make('small', {}, again));
    const rest = make('div', {});
    host.replaceChildren(this.bar, title, factList(calls, row), rest);
    host.hidden = false;
    document.querySelector('.view').classList.add('open');
    host.scrollTop = 0;
    title.focus({ preventScroll: true });
    const body = await bodyOf(calls, row);
    if (this.row !== row) return;
    if (!body) {
      rest.append(make('p', { class: 'note' }, 'The texts of this call are not kept on this page; calls.jsonl.gz has them.'), known(calls, row, []));
      return;
    }
    const part = (heading, node) => rest.append(make('h3', {}, heading), node);
    const wrong = body.facts.find(([key]) => key === 'error');
    if (wrong) part('Error', show(make('p', { class: 'error' }), wrong[1]));
    if (body.output) part('Output', texts(body.output, body.evidence));
    if (body.scores.length) part('Scores', scoreList(body));
    if (body.trace) part('Trace, ' + body.trace.time, waterfall(body.trace, body.id));
    if (body.trace && body.trace.left) rest.append(make('p', { class: 'note' }, number(body.trace.left) + ' more steps are in trace.otlp.json'));
    if (body.input) part('Input', texts(body.input, body.evidence));
    if (body.reference) part('Reference', texts(body.reference, body.evidence));
    if (body.context.length) part('Context', make('ol', { class: 'context' }, ...body.context.map((text) => make('li', {}, texts(text, body.evidence)))));
    part('Facts', known(calls, row, body.facts));
  }
  hide() {
    if (this.row < 0) return;
    this.row = -1;
    this.host.hidden = true;
    document.querySelector('.view').classList.remove('open');
    this.host.replaceChildren();
    if (this.back && this.back.isConnected) this.back.focus({ preventScroll: true });
  }
}
