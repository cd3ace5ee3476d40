import { formatSize } from '../../kit/sizes.ts';

/** Bytes for people; what is not known is `-`. */
export function bytesText(bytes: number | null | undefined): string {
  return bytes === null || bytes === undefined ? '-' : formatSize(bytes);
}

/** A part of a whole for people, as in `12%`; what is not known is `-`. */
export function shareText(part: number | null | undefined, whole: number | null | undefined): string {
  if (part === null || part === undefined || whole === null || whole === undefined || whole <= 0) return '-';
  return `${Math.round((part / whole) * 100)}%`;
}

/** How long ago a moment was, in its largest unit: `now`, `12s`, `5m`, `3h`, `2d`. */
export function agoText(isoTime: string, wallMs: number): string {
  const seconds = Math.max(0, Math.round((wallMs - Date.parse(isoTime)) / 1000));
  if (Number.isNaN(seconds)) return '-';
  if (seconds < 1) return 'now';
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
