#pragma once

namespace openelm {

void test_half();
void test_elementwise();
void test_matmul();
void test_attention();
void test_quantize();
void test_thread_pool();
void test_load();
void test_ops();
void test_presets();
void test_adapted_layer();
void test_adapters();
void test_models();
void test_oracle();
void test_draws();
void test_drafts();
void test_planted();
void test_invariance();
void test_scheduler();
void test_streams();
void test_token_scores();
void test_sampler();
void test_constraints();
void test_differences();
void test_gradients();
void test_gradient_tree();
void test_sharded_step();
void test_training();

}  // namespace openelm
