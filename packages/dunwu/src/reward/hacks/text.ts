/** A response in form. */
export const tagged = (thought: string, answer: string): string =>
  `<think>${thought}</think><answer>${answer}</answer>`;
