/** What set-up says: plain lines, coloured only on a terminal. */
export class Report {
  constructor({
    quiet = false,
    stream = process.stdout,
    colour = stream.isTTY === true && !process.env.NO_COLOR,
  } = {}) {
    this.quiet = quiet;
    this.stream = stream;
    this.colour = colour;
    this.started = performance.now();
  }

  paint(code, text) {
    return this.colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  }

  /** Work that begins or was done: always shown, since it explains a wait. */
  step(text) {
    this.stream.write(`${this.paint(36, 'setup:')} ${text}\n`);
  }

  /** Something that needed no work: left out with --quiet. */
  same(text) {
    if (!this.quiet) this.stream.write(`${this.paint(2, `setup: ${text}`)}\n`);
  }

  warn(text) {
    this.stream.write(`${this.paint(33, 'setup: note:')} ${text}\n`);
  }

  /** Seconds since the start, such as `0.2 s`. */
  elapsed() {
    return seconds(performance.now() - this.started);
  }
}

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

export const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
