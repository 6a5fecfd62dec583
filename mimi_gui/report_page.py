"""The page that a report is poured into: styles, and the player that switches at the same position.

The page loads nothing (its content security policy forbids it), so it opens anywhere and years from now.
"""

STYLE = """
:root { --text:#1b1f24; --dim:#57606a; --page:#ffffff; --panel:#f4f6f8; --line:#d0d7de; --a:#1c66b3; --b:#b35309;
  --strip:#a8325e; }
@media (prefers-color-scheme: dark) { :root { --text:#e6edf3; --dim:#9aa4af; --page:#12161b; --panel:#1b2128;
  --line:#38414b; --a:#6cb0f5; --b:#f0a04b; --strip:#ee7aa4; } }
* { box-sizing:border-box }
body { margin:0 auto; max-width:1200px; padding:24px; background:var(--page); color:var(--text);
  font:15px/1.5 system-ui,sans-serif }
h1 { font-size:24px; margin:0 0 4px } h2 { font-size:18px; margin:32px 0 8px }
p.note, figcaption, td.note { color:var(--dim); font-size:13px }
#player { position:sticky; top:0; z-index:2; display:flex; flex-wrap:wrap; gap:8px; align-items:center;
  padding:10px; margin:12px 0; background:var(--panel); border:1px solid var(--line); border-radius:8px }
#player input[type=range] { flex:1; min-width:160px }
button { font:inherit; padding:6px 14px; border:1px solid var(--line); border-radius:6px; background:var(--page);
  color:var(--text); cursor:pointer }
button:focus-visible, input:focus-visible, #lanes:focus-visible { outline:2px solid var(--a); outline-offset:2px }
#side-a[aria-pressed=true] { background:var(--a); color:var(--page); border-color:var(--a) }
#side-b[aria-pressed=true] { background:var(--b); color:var(--page); border-color:var(--b) }
#lanes { position:relative; cursor:crosshair } #playhead { position:absolute; top:0; bottom:0; width:2px; left:0;
  background:var(--text); pointer-events:none }
figure { margin:0 0 10px } figure svg { display:block; width:100%; background:var(--panel) }
#ruler { position:relative; height:20px; color:var(--dim); font-size:12px }
#ruler span { position:absolute; white-space:nowrap; transform:translateX(-50%) }
#ruler span:first-child { transform:none }
#ruler span:last-child { transform:translateX(-100%) }
.wave-a { fill:var(--a) } .wave-b { fill:var(--b) } .strip { fill:var(--strip) }
.curves { display:flex; flex-wrap:wrap; gap:16px } .curves figure { width:320px } svg.curve { background:none }
svg.curve text { fill:var(--dim); font-size:11px } .axis { fill:none; stroke:var(--line) }
.line { fill:none; stroke:var(--a); stroke-width:1.6 } .dot { fill:var(--a) }
.ring { fill:none; stroke:var(--b); stroke-width:2 }
table { border-collapse:collapse; width:100% } td, th { text-align:left; padding:3px 12px 3px 0; vertical-align:top;
  border-bottom:1px solid var(--line) } th { font-weight:600 } td.number { white-space:nowrap }
details { margin:6px 0 } .scroll { overflow-x:auto }
"""

SCRIPT = """
'use strict';
const FADE_S = 0.01;
class Player {
  // Both sounds always run from the same instant; a switch only moves the gains, so the position never jumps.
  constructor(context, buffers, gains) {
    this.context = context; this.buffers = buffers; this.gains = gains; this.side = 0; this.offset = 0;
    this.startedAt = null; this.sources = [];
    this.levels = buffers.map((_, i) => {
      const node = context.createGain();
      node.gain.value = i === 0 ? this.gains[0] : 0;
      node.connect(context.destination);
      return node;
    });
  }
  get duration() { return Math.min(...this.buffers.map(b => b.duration)); }
  get playing() { return this.startedAt !== null; }
  get position() {
    const at = this.playing ? this.offset + this.context.currentTime - this.startedAt : this.offset;
    return Math.min(Math.max(at, 0), this.duration);
  }
  play() {
    if (this.playing) return;
    if (this.offset >= this.duration) this.offset = 0;
    const when = this.context.currentTime;
    this.sources = this.buffers.map((buffer, i) => {
      const source = this.context.createBufferSource();
      source.buffer = buffer; source.connect(this.levels[i]); source.start(when, this.offset);
      return source;
    });
    this.startedAt = when;
  }
  pause() {
    if (!this.playing) return;
    this.offset = this.position; this.startedAt = null;
    this.sources.forEach(source => source.stop()); this.sources = [];
  }
  seek(seconds) {
    const was = this.playing; this.pause();
    this.offset = Math.min(Math.max(seconds, 0), this.duration);
    if (was) this.play();
  }
  setSide(side) { this.side = side; this.fade(); }
  setGains(gains) { this.gains = gains; this.fade(); }
  fade() {
    const now = this.context.currentTime;
    this.levels.forEach((node, i) => {
      node.gain.cancelScheduledValues(now);
      node.gain.setValueAtTime(node.gain.value, now);
      node.gain.linearRampToValueAtTime(i === this.side ? this.gains[i] : 0, now + FADE_S);
    });
  }
}
function bytes(text) { return Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer; }
async function decode(context, sounds) {
  return Promise.all([sounds.a, sounds.b].map(text => context.decodeAudioData(bytes(text))));
}
(function () {
  const find = id => document.getElementById(id);
  if (!find('sounds')) return;
  const sounds = JSON.parse(find('sounds').textContent);
  let player = null, wanted = 0, start = 0;
  const even = [1, 1];
  const gains = () => find('match').checked ? sounds.gains : even;
  async function ready() {
    if (!player) {
      const context = new AudioContext({sampleRate: sounds.sample_rate});
      player = new Player(context, await decode(context, sounds), gains());
      player.setSide(wanted); player.seek(start);
    }
    if (player.context.state === 'suspended') await player.context.resume();
    return player;
  }
  function show() {
    const at = player ? player.position : start;
    if (player && player.playing && at >= player.duration) player.pause();
    find('playhead').style.left = 100 * at / sounds.duration + '%';
    find('seek').value = at;
    find('time').textContent = at.toFixed(2) + ' / ' + sounds.duration.toFixed(2) + ' s';
    find('play').textContent = player && player.playing ? 'Pause' : 'Play';
  }
  function frame() { show(); if (player && player.playing) requestAnimationFrame(frame); }
  async function toggle() { const p = await ready(); p.playing ? p.pause() : p.play(); frame(); }
  function side(i) {
    wanted = i; if (player) player.setSide(i);
    find('side-a').setAttribute('aria-pressed', i === 0); find('side-b').setAttribute('aria-pressed', i === 1);
  }
  function seek(seconds) {
    start = Math.min(Math.max(seconds, 0), sounds.duration);
    if (player) player.seek(start);
    show();
  }
  find('play').addEventListener('click', toggle);
  find('side-a').addEventListener('click', () => side(0));
  find('side-b').addEventListener('click', () => side(1));
  find('match').addEventListener('change', () => player && player.setGains(gains()));
  find('seek').addEventListener('input', event => seek(Number(event.target.value)));
  find('lanes').addEventListener('click', event => {
    const box = find('lanes').getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * sounds.duration);
  });
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // Buttons, the checkbox and the fold keep their own space bar.
    if (event.key === ' ' && !event.target.matches('button, summary, input[type=checkbox]')) {
      event.preventDefault(); toggle();
    }
    if (event.key === 'a' || event.key === 'A') side(0);
    if (event.key === 'b' || event.key === 'B') side(1);
  });
  show();
})();
"""

PLAYER = """
<div id="player">
<button id="play" type="button">Play</button>
<button id="side-a" type="button" aria-pressed="true">A {name_a}</button>
<button id="side-b" type="button" aria-pressed="false">B {name_b}</button>
<input id="seek" type="range" min="0" max="{duration}" step="0.01" value="0" aria-label="Position in seconds">
<span id="time"></span>
<label><input id="match" type="checkbox" checked> same loudness ({gain_a:+.1f} / {gain_b:+.1f} dB)</label>
</div>
<p class="note">Space plays, A and B switch at the same position; a click on a figure goes there.</p>
<script type="application/json" id="sounds">{sounds}</script>
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="note">{subtitle}</p>
{body}
<script>{script}</script>
</body>
</html>
"""
