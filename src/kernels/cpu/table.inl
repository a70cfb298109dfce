// Puts the kernels of the including file into a table.

void fill(Kernels& k) {
  k.tile_rows = tile_rows;
  k.tile_cols = tile_cols;
  k.pack = pack;
  k.tile = tile;
  k.dot = dot;
  k.gptq_tables = gptq_tables;
  k.gptq_panel = gptq_panel;
  k.gptq_dot = gptq_dot;
  k.lines_input = lines_input;
  k.lines_dot = lines_dot;
  k.lines_multiply = lines_multiply;
  k.layer_norm = layer_norm;
  k.rms_norm = rms_norm;
  k.softmax = softmax;
  k.weighted_sum = weighted_sum;
  k.sum_exp = sum_exp;
  k.activation = activation;
  k.add = add;
  k.to_f32 = to_f32;
  k.extremes = extremes;
  k.round_codes = round_codes;
  k.rope = rope;
  k.fma_burst = fma_burst;
  k.read_burst = read_burst;
}
