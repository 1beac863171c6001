import { existsSync, readFileSync } from 'node:fs';

/** What can be missing, and the command that installs it. */
const INSTALL = {
  node: {
    debian: 'curl -fsSL https://deb.nodesource.com/setup_22.x | sudo -E bash - && sudo apt-get install -y nodejs',
    fedora: 'sudo dnf install -y nodejs',
    macos: 'brew install node',
  },
  npm: {
    debian: 'sudo apt-get install -y npm',
    fedora: 'sudo dnf install -y nodejs-npm',
    macos: 'brew install node',
  },
  compiler: {
    debian: 'sudo apt-get install -y g++',
    fedora: 'sudo dnf install -y gcc-c++',
    macos: 'xcode-select --install',
  },
  python: {
    debian: 'sudo apt-get install -y python3 python3-pip',
    fedora: 'sudo dnf install -y python3 python3-pip',
    macos: 'brew install python',
  },
  pip: {
    debian: 'sudo apt-get install -y python3-pip',
    fedora: 'sudo dnf install -y python3-pip',
    macos: 'python3 -m ensurepip --upgrade',
  },
};

const LABEL = { debian: 'Debian, Ubuntu', fedora: 'Fedora', macos: 'macOS' };

/** Which of the three families this machine belongs to, or null. */
export function family(platform = process.platform, osRelease = readOsRelease()) {
  if (platform === 'darwin') return 'macos';
  const ids = [...osRelease.matchAll(/^ID(?:_LIKE)?=(.*)$/gm)].flatMap((match) =>
    match[1].replace(/["']/g, '').split(/\s+/),
  );
  if (ids.some((id) => id === 'debian' || id === 'ubuntu')) return 'debian';
  if (ids.some((id) => id === 'fedora' || id === 'rhel' || id === 'centos')) return 'fedora';
  return null;
}

function readOsRelease() {
  return existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
}

/** Lines that tell how to install `thing` on each system, this machine's first. */
export function installLines(thing, own = family()) {
  const order = Object.keys(LABEL).sort((a, b) => Number(b === own) - Number(a === own));
  return order.map((key) => `  ${`${LABEL[key]}:`.padEnd(17)}${INSTALL[thing][key]}`);
}

/**
 * Set-up can't go on. The message says what is missing or wrong; `install` names an entry of the table above, `hints`
 * are further lines, `detail` is what the failing program itself said.
 */
export class SetupFailure extends Error {
  constructor(message, { install = null, hints = [], detail = '' } = {}) {
    super(message);
    this.name = 'SetupFailure';
    this.install = install;
    this.hints = hints;
    this.detail = detail;
  }

  /** The whole text for the person. */
  lines() {
    const lines = [this.message];
    const detail = this.detail.trim();
    if (detail !== '')
      lines.push(
        ...detail
          .split('\n')
          .slice(-40)
          .map((line) => `  | ${line}`),
      );
    if (this.install !== null) lines.push('To install it:', ...installLines(this.install));
    lines.push(...this.hints);
    return lines;
  }
}

/** A full disk or a folder that can't be written, told apart from everything else; other errors are passed through. */
export function explainSystemError(error, doing) {
  if (error?.code === 'ENOSPC') {
    return new SetupFailure(`The disk is full while ${doing} (${error.path ?? ''}).`, {
      hints: ['Free about 2 GB (df -h . shows what is left) and run it again.'],
    });
  }
  if (error?.code === 'EACCES' || error?.code === 'EROFS' || error?.code === 'EPERM') {
    return new SetupFailure(`No permission to write ${error.path ?? 'a file'} while ${doing}.`, {
      hints: ['Make the folder yours (sudo chown -R "$USER" .) or clone into a folder that is.'],
    });
  }
  return error;
}
