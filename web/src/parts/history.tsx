import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Sample } from '../cluster-state.ts';
import { bytesText } from '../figures.ts';

const HEIGHT = 180;

/** What was used and saved while this page was open. */
export function History({ samples }: { readonly samples: readonly Sample[] }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  useEffect(() => {
    const element = place.current;
    if (element === null) return undefined;
    const colour = (name: string): string => getComputedStyle(element).getPropertyValue(name).trim();
    const line = (label: string, stroke: string): uPlot.Series => ({
      label,
      stroke,
      width: 2,
      value: (_self, value: number | null) => bytesText(value),
    });
    const axis = { stroke: colour('--text'), grid: { stroke: colour('--line') }, ticks: { stroke: colour('--line') } };
    plot.current = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        series: [{}, line('Used', colour('--accent')), line('Saved', colour('--good'))],
        axes: [axis, { ...axis, size: 80, values: (_self, values) => values.map((value) => bytesText(value)) }],
      },
      [[], [], []],
      element,
    );
    const watch = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => {
    plot.current?.setData([
      samples.map(({ atMs }) => atMs / 1000),
      samples.map(({ usedBytes }) => usedBytes),
      samples.map(({ savedBytes }) => savedBytes),
    ]);
  }, [samples]);
  const last = samples.at(-1);
  const now = `Used now: ${bytesText(last?.usedBytes)}. Saved by compression and sharing now: ${bytesText(last?.savedBytes)}.`;
  return (
    <section aria-labelledby="history-title">
      <h2 id="history-title">Use and savings over time</h2>
      <p class="quiet">{now} The picture begins when this page was opened; for longer times watch the metrics.</p>
      <div class="plot" ref={place} role="img" aria-label={`Use and savings since this page was opened. ${now}`} />
    </section>
  );
}
