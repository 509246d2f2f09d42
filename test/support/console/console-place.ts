import type { BrowserWindow, Chromium, WindowOptions } from '../chromium.ts';
import { startChromium } from '../chromium.ts';
import { password, startFrontDoor, user, type FrontDoor, type FrontDoorOptions } from '../front-door.ts';
import { until } from '../redis.ts';
import { startRegistry, type Registry } from '../registry.ts';
import { checkWindow } from './page-checks.ts';

/** A registry behind the real program, and a browser. */
export type ConsolePlace = {
  readonly registry: Registry;
  readonly door: FrontDoor;
  readonly chromium: Chromium;
  /** Opens a window, lets it be used, and checks that nothing bad happened in it. */
  visit(use: (window: BrowserWindow) => Promise<void>, options?: VisitOptions): Promise<void>;
  /** Waits until the lists know all of the registry. */
  untilListed(): Promise<void>;
  stop(): Promise<void>;
};

export type VisitOptions = WindowOptions & {
  /** Logs in first; null: nobody does. The default is the user of the tests. */
  readonly as?: readonly [name: string, password: string] | null;
};

/** With the record of usage in the program's own folder, and at once. */
export const recorded = ['state.dir=state', 'state.inventoryDelay=0'];

export async function openConsole(
  options: Partial<FrontDoorOptions> & {
    /** Fills the registry first. */
    readonly content?: (url: string) => Promise<unknown>;
    readonly registry?: Registry;
  } = {},
): Promise<ConsolePlace> {
  const { content, registry = await startRegistry(), ...rest } = options;
  await content?.(registry.url);
  const door = await startFrontDoor({ upstreamUrl: registry.url, set: recorded, ...rest });
  const chromium = await startChromium(door);
  const visit: ConsolePlace['visit'] = async (use, { as = [user, password], ...how } = {}) => {
    const window = await chromium.open(how);
    try {
      if (as !== null) await window.logIn(as[0], as[1]);
      await use(window);
      checkWindow(window);
    } finally {
      await window.close();
    }
  };
  return {
    ...{ registry, door, chromium, visit },
    untilListed: () =>
      visit(({ page }) =>
        until('the lists are complete', async () => {
          await page.goto('/ui/');
          return (await page.locator('.notice.info').count()) === 0;
        }),
      ),
    stop: async () => {
      await chromium.stop();
      await door.stop();
      if (options.registry === undefined) await registry.stop();
    },
  };
}
