/**
 * Whether equal calls of a model have equal answers:
 *
 * - `yes`: it computes, and does nothing else;
 * - `unknown`: it is code that may do anything, draws random numbers, or is made of other models. Its answers
 *   are cached if its configuration asks for it;
 * - `no`: it remembers calls, or gives any number of answers.
 */
export type Repeats = "yes" | "unknown" | "no";
