// The table of calls: columns, search, facets, sorting, and a list that draws only the rows in view.
const FACETS = [['status', 'Any status'], ['outcome', 'Any outcome'], ['passed', 'Any score'], ['model', 'Any model'], ['feature', 'Any feature'],
  ['team', 'Any team'], ['prompt', 'Any prompt version'], ['set', 'Any set'], ['error', 'Any error']];
const HEIGHT = 34, EXTRA = 12;

// Keep what `get` returns as a property from its first use on.
function lazy(host, name, get) {
  Object.defineProperty(host, name, { configurable: true, get() {
    const value = get();
    Object.defineProperty(host, name, { value });
    return value;
  } });
}

// A column of numbers: lowest bytes of all rows first, a unit and a least value; the highest is "unknown", NaN here.
// Places of texts have no unit. One value, not a list, is that of all rows.
class Column {
  constructor(bytes, n, spec) {
    const one = Array.isArray(spec) ? null : spec === null ? NaN : spec;
    const [from, width, least, unit] = one === null ? spec : [];
    const none = unit ? 256 ** width - 1 : NaN, factor = unit || 1, base = least || 0;
    this.at = (row) => {
      if (one !== null) return one;
      let value = bytes[from + row];
      for (let place = 1; place < width; place += 1) value += bytes[from + place * n + row] * 256 ** place;
      return value === none ? NaN : value * factor + base;
    };
    lazy(this, 'all', () => {
      const out = new Float64Array(n);
      for (let row = 0; row < n; row += 1) out[row] = this.at(row);
      return out;
    });
  }
}

class Calls {
  constructor(buffer) {
    const head = new DataView(buffer).getUint32(0, true) + 4;
    const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, head - 4)));
    const bytes = new Uint8Array(buffer, head), { n } = data;
    Object.assign(this, { data, bytes, n, orders: new Map() });
    for (const [name, spec] of Object.entries(data.num)) this[name] = new Column(bytes, n, spec);
    this.score = new Column(bytes, n, data.scores.length ? data.scores[0] : null);
    for (const pair of Object.values(data.dict)) pair[1] = new Column(bytes, n, pair[1]);
    lazy(this, 'ids', () => Array.from({ length: n }, (_, row) => this.id(row)));
    lazy(this, 'rows', () => {
      const rows = new Uint32Array(n);
      for (let row = 0; row < n; row += 1) rows[row] = row;
      return rows;
    });
    lazy(this, 'start', () => {
      let last = 0;
      return this.time.all.map((step) => (unknown(step) ? NaN : (last += step)));
    });
  }
  id(row) {
    const { id } = this.data;
    if (Array.isArray(id)) return id[row];
    let text = '';
    for (let i = id.at + row * id.size; i < id.at + (row + 1) * id.size; i += 1) text += (this.bytes[i] + 256).toString(16).slice(1);
    return text;
  }
  seconds(column, row) {
    return this[column].at(row) / 1e5;
  }
  dollars(row) {
    return this.usd.at(row) / 1e9;
  }
  text(column, row) {
    const [values, codes] = this.data.dict[column];
    return values[codes.at(row)] || '';  // none: no place among the values
  }
  node(row) {
    return this.text('node', row).replace('\u0001', () => this.text('case', row)).replace('\u0002', this.repeat.at(row));
  }
  name(row) {
    return this.text('case', row) || this.node(row).split('::').pop() || this.id(row);
  }
  // Which repeat and rerun of its case a call is, '' for the first.
  again(row) {
    const repeat = this.repeat.at(row), rerun = this.attempt.at(row);
    return repeat || rerun ? '#' + (repeat + 1) + (rerun ? ' rerun ' + rerun : '') : '';
  }
  // Distinct node ids in lower case, and which of them each row has: a search reads a name once, not once a call.
  get nodes() {
    const codes = this.data.dict.node[1].all, cases = this.data.dict.case[1].all, seen = new Map(), texts = [], of = new Int32Array(this.n);
    const least = this.data.dict.case[0].length + 2;
    for (let row = 0; row < this.n; row += 1) {
      const key = ((codes[row] + 1) * least + cases[row] + 1) * 65536 + this.repeat.at(row);
      let at = seen.get(key);
      if (at === undefined) {
        seen.set(key, at = texts.length);
        texts.push(this.node(row).toLowerCase());
      }
      of[row] = at;
    }
    Object.defineProperty(this, 'nodes', { value: [texts, of] });
    return this.nodes;
  }
  // Tell for a word whether a row has it: in the id, the test, or a text that facets choose by.
  has(word) {
    const found = [];
    const look = (values, codes) => {
      const hits = values.map((value) => value.toLowerCase().includes(word));
      if (hits.includes(true)) found.push([hits, codes()]);
    };
    look(this.nodes[0], () => this.nodes[1]);
    for (const [facet] of FACETS) look(this.data.dict[facet][0], () => this.data.dict[facet][1].all);
    return (row) => {
      for (const [hits, codes] of found) if (hits[codes[row]]) return true;
      return this.ids[row].includes(word);
    };
  }
  // How a call stands: mark, word, state.
  state(row) {
    const status = this.text('status', row), outcome = this.text('outcome', row);
    if (status !== 'success') return ['✗', words(status), 'broken'];
    if (outcome === 'failed' || outcome === 'error') return ['✗', 'test ' + outcome, 'broken'];
    return this.text('passed', row) === 'low score' ? ['✗', 'low score', 'broken'] : ['✓', 'ok', 'holds'];
  }
  // Rows of the calls behind a rule, worst first, kept as differences.
  behind(rule) {
    let at = 0;
    return (this.data.rules[rule] || []).map((step) => (at += step));
  }
  // A link may hold a longer or a shorter id than the page does.
  find(id) {
    const whole = this.ids.indexOf(id);
    if (whole >= 0) return whole;
    if (id.length < 4) return -1;
    return this.ids.findIndex((own) => own.startsWith(id) || id.startsWith(own));
  }
  // Whole numbers to sort by, NaN where nothing is known; texts as their places in the alphabet.
  keys(sort) {
    const texts = { test: (row) => this.name(row), model: (row) => this.text('model', row),
      status: (row) => this.text('status', row) + ' ' + this.text('outcome', row) }[sort];
    if (!texts) {
      const column = { latency: this.latency, ttft: this.ttft, tokens: this.output, cost: this.usd, score: this.score }[sort];
      return column ? column.all : this.start;
    }
    const own = Array.from({ length: this.n }, (_, row) => texts(row));
    const places = new Map([...new Set(own)].sort((x, y) => (x < y ? -1 : 1)).map((text, at) => [text, at]));
    return own.map((text) => (text === '' ? NaN : places.get(text)));
  }
  // All rows in an order: the key and the row in one number each, so that no comparison calls back. Unknown last.
  order(sort) {
    if (this.orders.has(sort)) return this.orders.get(sort);
    const down = sort.startsWith('-'), keys = this.keys(sort.replace('-', '')), n = this.n;
    let least = Infinity, most = -Infinity;
    for (const key of keys) { if (key < least) least = key; if (key > most) most = key; }
    const span = most >= least ? most - least + 1 : 0, packed = new Float64Array(n);
    const unit = Math.ceil((span * n) / 2 ** 52) || 1;  // coarser where both would not fit into one number
    for (let row = 0; row < n; row += 1) {
      const key = keys[row];
      packed[row] = Math.ceil((key !== key ? span : down ? most - key : key - least) / unit) * n + row;
    }
    packed.sort();
    const rows = new Uint32Array(n);
    for (let at = 0; at < n; at += 1) rows[at] = packed[at] % n;
    this.orders.set(sort, rows);
    return rows;
  }
}

function select(calls, state) {
  const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const checks = [];
  let rows = state.sort ? calls.order(state.sort) : null;
  if (state.rule) {
    const behind = calls.behind(state.rule);
    if (rows) {
      const inside = new Set(behind);
      rows = rows.filter((row) => inside.has(row));
    } else rows = behind;
  }
  for (const [facet] of FACETS) {
    if (!state[facet]) continue;
    const [values, column] = calls.data.dict[facet];
    const code = values.indexOf(state[facet]), codes = column.all;
    checks.push((row) => codes[row] === code);
  }
  if (state.bad) checks.push((row) => calls.state(row)[2] === 'broken');
  for (const word of wanted) checks.push(calls.has(word));
  rows ||= calls.rows;
  for (const check of checks) rows = rows.filter(check);
  return rows;
}

class Table {
  constructor(calls, state, changed, open) {
    Object.assign(this, { calls, state, changed, open, at: 0, rows: [] });
    this.top = Math.max(1, calls.data.top);
    // neither is asked of the page while it is built: that would lay it out
    this.scroll = 0;
    this.tall = 0;
    this.build();
  }
  build() {
    const host = by('table');
    this.search = make('input', { type: 'search', placeholder: 'Search id, test, model, error …  ( / )', 'aria-label': 'Search calls' });
    this.search.addEventListener('input', () => { this.state.q = this.search.value; this.refresh(true); });
    this.rule = make('button', { type: 'button', class: 'chip behind', hidden: true });
    this.rule.addEventListener('click', () => { this.state.rule = ''; this.refresh(true); });
    const bad = this.calls.data.bad;
    this.bad = make('button', { type: 'button', class: 'chip', hidden: !bad, 'aria-pressed': 'false' }, make('b', { 'aria-hidden': 'true' }, '✗'), ' ' + number(bad) + ' not ok');
    this.bad.addEventListener('click', () => { this.state.bad = this.state.bad ? '' : '1'; this.refresh(true); });
    this.selects = FACETS.map(([facet, any]) => this.facet(facet, any)).filter(Boolean);
    this.count = make('output', { 'aria-live': 'polite' });
    this.clear = make('button', { type: 'button', class: 'quiet' }, 'Clear');
    this.clear.addEventListener('click', () => {
      for (const [facet] of FACETS) this.state[facet] = '';
      this.state.q = this.state.rule = this.state.bad = '';
      this.refresh(true);
    });
    const columns = [['status', 'Status'], ['test', 'Test'], ['model', 'Model'], ['latency', 'Latency', 1], ['ttft', 'TTFT', 1],
      ['tokens', 'Tokens', 1], ['cost', 'Cost', 1], ['score', words(this.calls.data.scorers[0] || 'Score'), 1]];
    this.heads = columns.map(([key, title, right]) => {
      const button = make('button', { type: 'button' }, title);
      button.addEventListener('click', () => this.order(key));
      return make('div', { role: 'columnheader', class: right ? 'num' : null, 'data-key': key, 'aria-sort': 'none' }, button);
    });
    this.pane = make('div', { class: 'pane', role: 'rowgroup' });
    this.space = make('div', { class: 'space', role: 'presentation' }, this.pane);
    const head = make('div', { class: 'top', role: 'rowgroup' }, make('div', { class: 'row head', role: 'row' }, ...this.heads));
    this.view = make('div', { class: 'view', tabindex: '0', role: 'grid', 'aria-label': 'Calls: arrow keys move, Enter opens', 'aria-colcount': 8 }, head, this.space);
    this.view.addEventListener('scroll', () => { this.scroll = this.view.scrollTop; this.draw(); }, { passive: true });
    this.view.addEventListener('keydown', (event) => this.keys(event));
    this.view.addEventListener('click', (event) => {
      const row = event.target.closest('.pane .row');
      if (row) { this.at = Number(row.dataset.at); this.draw(); this.open(this.rows[this.at]); }
    });
    new ResizeObserver(([entry]) => {
      const tall = entry.contentRect.height;
      if (tall > this.tall || !this.tall) { this.tall = tall; this.draw(); }
      this.tall = tall;
    }).observe(this.view);
    host.append(make('div', { class: 'tools', role: 'search' }, this.search, this.bad, this.rule, ...this.selects, this.clear, this.count), this.view);
    host.hidden = false;
    by('static').remove();
  }
  facet(facet, any) {
    const [values, column] = this.calls.data.dict[facet];
    if (values.length < 2 || values.length > 400) return null;
    const node = make('select', { 'aria-label': any.replace('Any ', 'Filter by '), 'data-facet': facet }, make('option', { value: '' }, any));
    // the choices are counted when somebody has time for them, or needs one
    node.fill = () => {
      if (node.options.length > 1) return;
      const counts = new Array(values.length).fill(0);
      for (const code of column.all) if (code >= 0 && code < counts.length) counts[code] += 1;
      for (const i of values.keys()) {
        const option = make('option', {});
        option.value = values[i];
        option.textContent = words(values[i]).replace(CONTROL, '?') + ' (' + number(counts[i]) + ')';
        node.append(option);
      }
    };
    for (const kind of ['pointerdown', 'focus']) node.addEventListener(kind, node.fill);
    node.addEventListener('change', () => { this.state[facet] = node.value; this.refresh(true); });
    return node;
  }
  order(key) {
    const down = ['latency', 'ttft', 'tokens', 'cost'].includes(key);
    const first = (down ? '-' : '') + key, second = (down ? '' : '-') + key;
    this.state.sort = this.state.sort === first ? second : this.state.sort === second ? '' : first;
    this.refresh(true);
  }
  // Show what the state says; `tell` where a person changed it, so that the address follows.
  refresh(tell) {
    const { state } = this;
    this.rows = select(this.calls, state);
    this.at = 0;
    this.search.value = state.q;
    this.search.classList.toggle('on', Boolean(state.q));
    for (const node of this.selects) {
      const value = state[node.dataset.facet];
      if (value) node.fill();
      node.value = value || '';
      node.classList.toggle('on', Boolean(node.value));
    }
    this.rule.hidden = !state.rule;
    if (state.rule) this.rule.replaceChildren('behind ', show(make('code', {}), state.rule), ' ✕');
    this.bad.setAttribute('aria-pressed', String(Boolean(state.bad)));
    this.clear.hidden = !(state.q || state.rule || state.bad || FACETS.some(([facet]) => state[facet]));
    for (const head of this.heads) {
      const own = state.sort.replace('-', '') === head.dataset.key;
      head.setAttribute('aria-sort', own ? (state.sort.startsWith('-') ? 'descending' : 'ascending') : 'none');
      head.firstChild.textContent = head.firstChild.textContent.replace(/ [▴▾]$/, '') + (own ? (state.sort.startsWith('-') ? ' ▾' : ' ▴') : '');
    }
    this.count.textContent = this.rows.length === this.calls.n ? number(this.calls.n) + ' calls' : number(this.rows.length) + ' of ' + number(this.calls.n) + ' calls';
    this.view.setAttribute('aria-rowcount', this.rows.length + 1);
    this.space.style.height = this.rows.length * HEIGHT + 'px';
    if (this.scroll) this.view.scrollTop = this.scroll = 0;
    this.draw();
    if (tell) this.changed();
  }
  // What can wait until the first page stands: choices, and what the first search and the usual sorts read.
  prepare() {
    const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
    const work = [...this.selects.map((node) => node.fill), () => this.calls.nodes, () => this.calls.ids, ...['-latency', 'test', '-cost', 'model', 'status', '-ttft', '-tokens'].map((sort) => () => this.calls.order(sort))];
    const next = () => {
      work.shift()();
      if (work.length) idle(next);
    };
    idle(next);
  }
  draw() {
    const first = Math.max(0, Math.floor(this.scroll / HEIGHT) - EXTRA);
    const last = Math.min(this.rows.length, first + Math.ceil((this.tall || Math.min(0.7 * innerHeight, 704)) / HEIGHT) + 2 * EXTRA);
    this.pane.style.transform = 'translateY(' + first * HEIGHT + 'px)';
    const nodes = [];
    for (let at = first; at < last; at += 1) nodes.push(this.row(at));
    if (!this.rows.length) nodes.push(make('p', { class: 'empty' }, 'No call fits. Clear the search or a filter.'));
    this.pane.replaceChildren(...nodes);
    const active = this.rows.length ? 'row-' + this.at : null;
    if (active && by(active)) this.view.setAttribute('aria-activedescendant', active);
    else this.view.removeAttribute('aria-activedescendant');
  }
  row(at) {
    const c = this.calls, row = this.rows[at], [mark, word, state] = c.state(row);
    const cell = (kind, ...inside) => make('div', { role: 'gridcell', class: kind }, ...inside);
    const latency = c.seconds('latency', row), slow = c.data.slow !== null && latency > c.data.slow;
    const bar = make('i', {});
    bar.style.width = unknown(latency) ? '0' : Math.max(1, 100 * Math.sqrt(c.latency.at(row) / this.top)) + '%';
    const value = c.score.at(row);
    const who = show(cell('who'), c.name(row));
    const again = c.again(row);
    if (again) who.append(make('small', {}, again));
    who.title = c.node(row).replace(CONTROL, '?');
    return make('div', { class: 'row' + (at === this.at ? ' at' : ''), role: 'row', id: 'row-' + at, 'data-at': at, 'aria-rowindex': at + 2, 'aria-selected': at === this.at ? 'true' : 'false' },
      cell('', make('span', { class: 'state ' + state }, make('b', { 'aria-hidden': 'true' }, mark), ' ' + word)),
      who, show(cell(''), c.text('model', row)),
      cell('num lat' + (slow ? ' slow' : ''), bar, make('span', { class: slow ? 'low' : null }, seconds(latency))),
      cell('num', seconds(c.seconds('ttft', row))),
      cell('num', number(c.input.at(row)) + ' → ' + number(c.output.at(row))), cell('num', dollars(c.dollars(row))),
      cell('num' + (value < 500 ? ' low' : ''), share(value)));
  }
  move(to) {
    this.at = Math.max(0, Math.min(this.rows.length - 1, to));
    const top = this.at * HEIGHT, view = this.view;
    // the head of the table covers one row's height at the top
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + 2 * HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = top + 2 * HEIGHT - view.clientHeight;
    this.scroll = view.scrollTop;
    this.draw();
  }
  keys(event) {
    if (event.target !== this.view) return;
    const page = Math.max(1, Math.floor(this.view.clientHeight / HEIGHT) - 1);
    const to = { ArrowDown: this.at + 1, j: this.at + 1, ArrowUp: this.at - 1, k: this.at - 1, PageDown: this.at + page,
      PageUp: this.at - page, Home: 0, End: this.rows.length - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (to !== undefined) this.move(to);
    else if (event.key === 'Enter' && this.rows.length) this.open(this.rows[this.at]);
    else return;
    event.preventDefault();
  }
}
